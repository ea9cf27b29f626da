"""Reads what a check needs of Fly and of the catalog, and remembers what was read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from flykeep.domain.compliance import LineageFacts, PauseFact
from flykeep.domain.compliance_verification import VerificationFacts
from flykeep.domain.errors import FlyError, FlyNotFoundError
from flykeep.domain.findings import Compliance
from flykeep.domain.fly import Inventory, Machine, Volume, VolumeSnapshot
from flykeep.domain.ids import LineageId, VolumeId
from flykeep.domain.lineages import LineagePlan, LineageState, primary_ids
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run
from flykeep.domain.target import Lineage
from flykeep.jobs.import_log import OpenImports
from flykeep.jobs.restore_log import OpenRestores
from flykeep.jobs.verify import failure_reasons
from flykeep.ports.catalog import Catalog, Pause, RecordedSnapshot, Transaction
from flykeep.ports.clock import Clock
from flykeep.ports.fly import InventoryReader, SnapshotReader

_PARALLEL_READS = 16
_FORMER_VOLUMES = 2


class CheckFly(InventoryReader, SnapshotReader, Protocol):
    """What a check needs of Fly."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What Fly said of one lineage; `rows` None means that its snapshots could not be read, which proves nothing.

    Each row comes with the volume id it is listed under.
    """

    volume: Volume | None = None
    machine: Machine | None = None
    rows: tuple[tuple[VolumeId, VolumeSnapshot], ...] | None = None
    unknown_reason: str | None = None

    @property
    def snapshots(self) -> tuple[VolumeSnapshot, ...] | None:
        return None if self.rows is None else tuple(snapshot for _, snapshot in self.rows)


@dataclass(frozen=True, slots=True)
class FactReader:
    fly: CheckFly
    catalog: Catalog
    clock: Clock
    drill_obstacle: str | None = None  # why no restore can be rehearsed here
    verify_max_age: timedelta | None = None

    async def read(self, plan: LineagePlan) -> dict[LineageId, Reading]:
        """One reading per current lineage, side by side; a target that can't be read does not stop the others."""
        limit = asyncio.Semaphore(_PARALLEL_READS)
        readings: dict[LineageId, Reading] = {}

        async def read_one(state: LineageState) -> None:
            async with limit:
                readings[state.lineage.id] = await self._read(state)

        async with asyncio.TaskGroup() as group:
            for state in plan.current:
                group.create_task(read_one(state))
        return readings

    async def _read(self, state: LineageState) -> Reading:
        machine = await self._with_configuration(state)
        try:
            rows = await self._snapshots(state.lineage)
        except FlyError as error:
            # Not an answer: the verdict becomes unknown with this as its reason, which is how people see it.
            return Reading(state.volume, machine, None, str(error))
        return Reading(state.volume, machine, rows)

    async def _with_configuration(self, state: LineageState) -> Machine | None:
        """The machine with its complete configuration; the listing's row where only that can be had."""
        if state.machine is None:
            return None
        try:
            return await self.fly.machine(state.lineage.app, state.machine.id)
        except FlyError:
            return state.machine  # no configuration is saved from it, and the listing's host status is judged

    async def _snapshots(self, lineage: Lineage) -> tuple[tuple[VolumeId, VolumeSnapshot], ...]:
        """Snapshots hang off volume ids: after a host migration the former id still lists the older ones."""
        live = lineage.volume_id
        rows = [(live, row) for row in await self.fly.snapshots(lineage.app, live)]
        for former in lineage.volume_ids[-1 - _FORMER_VOLUMES : -1]:
            try:
                rows.extend((former, row) for row in await self.fly.snapshots(lineage.app, former))
            except FlyNotFoundError:
                continue  # Fly forgets a destroyed volume's id after a day
        return tuple(rows)

    async def remember(self, plan: LineagePlan, readings: dict[LineageId, Reading], inventory: Inventory) -> None:
        """Keep restorable snapshots' ids and complete configurations: after a loss nobody can ask Fly for them."""
        async with self.catalog.transaction() as tx:
            if inventory.is_complete:
                await tx.save_fly_seen(inventory.read_at)
            for state in plan.current:
                await self._remember_one(tx, state.lineage, readings[state.lineage.id])

    async def _remember_one(self, tx: Transaction, lineage: Lineage, reading: Reading) -> None:
        now = self.clock.now()
        for volume_id, snapshot in reading.rows or ():
            if snapshot.is_restorable:
                await tx.record_snapshot(RecordedSnapshot(lineage.id, volume_id, lineage.app, snapshot, now))
        if reading.rows is not None:
            await _remember_pending(tx, lineage, reading.rows, now=now)
        machine = reading.machine
        if machine is not None and machine.config_json is not None:
            await tx.save_machine_config(machine.id, lineage_id=lineage.id, config_json=machine.config_json, now=now)

    async def gather(self, readings: Sequence[tuple[Lineage, Reading]]) -> tuple[LineageFacts, ...]:
        """What Fly said together with what the catalog knows, in the order given."""
        everyone = tuple(lineage for lineage, _ in readings)
        primaries = primary_ids(lineage for lineage, reading in readings if reading.volume is not None)
        async with self.catalog.transaction() as tx:
            pauses = {pause.target: pause for pause in await tx.pauses(now=self.clock.now())}
            verdicts = {verdict.lineage_id: verdict for verdict in await tx.verdicts()}
            restores = await OpenRestores.read(tx)
            imports = await OpenImports.read(tx)
            return tuple(
                [
                    replace(
                        await self._gather(tx, lineage, reading, verdicts.get(lineage.id)),
                        label=lineage.label_among(everyone),
                        pause=_pause_fact(pauses.get(lineage.id)),
                        is_primary=lineage.id in primaries,
                        restores=restores.records.get(lineage.id, ()),
                        is_restoring=lineage.id in restores.at_work,
                        imports=imports.records.get(lineage.id, ()),
                        is_importing=lineage.id in imports.at_work,
                    )
                    for lineage, reading in readings
                ]
            )

    async def _gather(
        self, tx: Transaction, lineage: Lineage, reading: Reading, last: Compliance | None
    ) -> LineageFacts:
        recorded = await tx.recorded_snapshots(lineage.id)
        artifacts = tuple(await tx.artifacts(lineage.id))
        # Of a volume that is not listed any more, the catalog still knows what could be restored.
        remembered = tuple(row.snapshot for row in recorded) if reading.volume is None else None
        return LineageFacts(
            lineage=lineage,
            label=lineage.label,
            volume=reading.volume,
            machine=reading.machine,
            snapshots=reading.snapshots if reading.volume is not None else remembered,
            artifacts=artifacts,
            verification=VerificationFacts(self.verify_max_age, await failure_reasons(tx, artifacts)),
            last_runs=await _last_runs(tx, lineage.id),
            last_conclusive=last if last and last.is_conclusive else None,
            proven_snapshot_at=recorded[0].snapshot.created_at if recorded else None,
            pending_seen_at=await _pending_seen_at(tx, lineage),
            newest_proof=next(iter(await tx.proofs(lineage.id, limit=1)), None),
            newest_passed_proof=next(iter(await tx.proofs(lineage.id, is_passed=True, limit=1)), None),
            drill_obstacle=self.drill_obstacle,
            unknown_reason=reading.unknown_reason,
        )


async def _remember_pending(
    tx: Transaction, lineage: Lineage, rows: Sequence[tuple[VolumeId, VolumeSnapshot]], *, now: datetime
) -> None:
    """Fly gives a pending snapshot no instant: its age counts from the check that saw one first."""
    is_pending = any(
        row.is_pending and row.created_at is None for volume_id, row in rows if volume_id == lineage.volume_id
    )
    known = await tx.note(_pending_note(lineage))
    if is_pending and not known:
        await tx.save_note(_pending_note(lineage), now.isoformat())
    elif known and not is_pending:
        await tx.save_note(_pending_note(lineage), "")


async def _pending_seen_at(tx: Transaction, lineage: Lineage) -> datetime | None:
    known = await tx.note(_pending_note(lineage))
    return datetime.fromisoformat(known) if known else None


def _pending_note(lineage: Lineage) -> str:
    return f"pending:{lineage.volume_id}"


def _pause_fact(pause: Pause | None) -> PauseFact | None:
    return PauseFact(pause.until_at, pause.reason) if pause else None


async def _last_runs(tx: Transaction, lineage_id: LineageId) -> tuple[Run, ...]:
    """The newest ended run of each kind that acts on a target."""
    found: list[Run] = []
    for kind in (JobKind.SNAPSHOT, JobKind.EXPORT, JobKind.DRILL):
        found.extend(await tx.runs(lineage_id=lineage_id, kind=kind, is_open=False, limit=1))
    return tuple(found)

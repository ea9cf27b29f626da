"""Reads what a target could be restored from, at Fly under every volume id it has had, and in the catalog."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from flykeep.domain.candidates import (
    Candidate,
    CandidateFacts,
    CandidateKind,
    KnownSnapshot,
    VolumeRows,
    candidates_of,
    unread_volumes,
)
from flykeep.domain.choosing import Choice, choose
from flykeep.domain.errors import FlyError, FlyInvalidRequestError, FlyNotFoundError, RefusalError, UsageError
from flykeep.domain.ids import SnapshotId, VolumeId
from flykeep.domain.lineages import rule_of
from flykeep.domain.policy import TargetRule
from flykeep.domain.target import Lineage
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.fly import InventoryReader, SnapshotReader

_PARALLEL_READS = 8
_PROOFS = 500


class CandidateFly(InventoryReader, SnapshotReader, Protocol):
    """What is asked of Fly."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A volume id under which there may be snapshots that nobody could list."""

    volume_id: VolumeId
    why: str


@dataclass(frozen=True, slots=True)
class CandidateReport:
    """Newest contents first. `unread` non-empty means that there may be more."""

    lineage: Lineage
    candidates: tuple[Candidate, ...]
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True)
class CandidateReader:
    """Reads only. What Fly does not answer is said, and never read as "there is none"."""

    fly: CandidateFly
    catalog: Catalog
    clock: Clock
    rules: tuple[TargetRule, ...]

    async def read(self, lineage: Lineage) -> CandidateReport:
        """Everything of the lineage's whole history."""
        listed = await self._listed(lineage)
        is_app_gone = all(one.is_forgotten for one in listed) and await self._is_app_gone(lineage)
        async with self.catalog.transaction() as tx:
            recorded = [KnownSnapshot(row.volume_id, row.snapshot) for row in await tx.recorded_snapshots(lineage.id)]
            artifacts, pins = await tx.artifacts(lineage.id), await tx.pins()
            proofs = await tx.proofs(lineage.id, limit=_PROOFS)
        facts = CandidateFacts(listed, recorded, artifacts, pins, proofs, is_app_gone=is_app_gone)
        unread = tuple(Unread(one.volume_id, one.failure or "") for one in unread_volumes(listed))
        return CandidateReport(lineage, candidates_of(facts, now=self.clock.now()), unread)

    async def choose(self, lineage: Lineage, text: str, *, kind: CandidateKind | None = None) -> Choice:
        """The candidate that a person means; raises as `domain.choosing.choose`.

        Raises RefusalError for a snapshot or an artifact of another target.
        """
        report = await self.read(lineage)
        rule = rule_of(lineage, self.rules)
        try:
            return choose(
                report.candidates,
                text,
                now=self.clock.now(),
                timezone=rule.policy.timezone if rule else "UTC",
                kind=kind,
                unread=[one.volume_id for one in report.unread],
            )
        except UsageError:
            await self._refuse_foreign(lineage, text.strip())
            raise

    async def _listed(self, lineage: Lineage) -> list[VolumeRows]:
        limit = asyncio.Semaphore(_PARALLEL_READS)

        async def read_one(volume_id: VolumeId) -> VolumeRows:
            async with limit:
                return await self._rows(lineage, volume_id)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(read_one(volume_id)) for volume_id in lineage.volume_ids]
        return [task.result() for task in tasks]

    async def _rows(self, lineage: Lineage, volume_id: VolumeId) -> VolumeRows:
        try:
            return VolumeRows(volume_id, await self.fly.snapshots(lineage.app, volume_id))
        except (FlyNotFoundError, FlyInvalidRequestError):  # a vanished volume answers 404, 400 or 422
            return VolumeRows(volume_id, None, is_forgotten=True)
        except FlyError as error:
            return VolumeRows(volume_id, None, failure=str(error))

    async def _is_app_gone(self, lineage: Lineage) -> bool:
        try:
            return all(app.name != lineage.app for app in await self.fly.apps())
        except FlyError:
            return False  # nobody knows: what was recorded may still be there

    async def _refuse_foreign(self, lineage: Lineage, text: str) -> None:
        async with self.catalog.transaction() as tx:
            row = await tx.recorded_snapshot(SnapshotId(text))
            names = {one.id: one.label for one in await tx.lineages(include_retired=True)}
            copies = [one for one in await tx.artifacts() if one.export_id == text]
        owner = row.lineage_id if row else copies[0].manifest.origin.lineage_id if copies else None
        if owner is not None and owner != lineage.id:
            name = names.get(owner, "another target")
            raise RefusalError(
                f"{text} is a backup of {name}, not of {lineage.label}",
                hint=f"Restore it there, or with --to: `flykeep restore {name}`.",
            )

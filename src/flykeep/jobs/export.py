"""Copy one target's contents into its stores: plan, hooks, stream, read back, commit by manifest, record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from flykeep.domain import layout
from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import FlykeepError
from flykeep.domain.fly import Volume, VolumeSnapshot
from flykeep.domain.ids import ExportId
from flykeep.domain.plans import NO_WORKERS, ExportPlan, plan_export
from flykeep.domain.policy import JobKind, TargetRule
from flykeep.domain.run import Outcome
from flykeep.domain.stores import StoreTraits
from flykeep.jobs.committing import Committer, Taken
from flykeep.jobs.context import TargetWork
from flykeep.jobs.export_result import outcome_of
from flykeep.jobs.hooks import HookRunner
from flykeep.jobs.scratch_steps import may_still_write
from flykeep.jobs.settle import BEGUN, COMMITTED, SETTLED, Settled, Settler, export_intents
from flykeep.jobs.snapshot_source import SnapshotSource
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock, IdSource
from flykeep.ports.crypto import IndexKey, Signer
from flykeep.ports.fly import AccessIssuer, CommandRunner, InventoryReader, SshAccess
from flykeep.ports.store import Store, StoreOrder
from flykeep.ports.worker import CompressionOrder, ExportOrder, ExportResult, Workers

_CLEANUP_LIMIT = timedelta(seconds=60)


class ExportFly(InventoryReader, CommandRunner, Protocol):
    """What this job needs of Fly."""


@dataclass(frozen=True, slots=True)
class BoundStore:
    """A store as the daemon uses it for small objects, the order by which a worker opens the same one, and its kind."""

    store: Store
    order: StoreOrder
    traits: StoreTraits = field(default_factory=StoreTraits)


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """`recipients` empty means that the operator wrote encryption = "none"."""

    recipients: tuple[str, ...]
    compression: CompressionOrder
    deadline: timedelta
    stall_timeout: timedelta
    flykeep_version: str


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is read; the same for every store."""

    plan: ExportPlan
    volume: Volume
    export_id: ExportId
    snapshot: VolumeSnapshot | None


@dataclass(frozen=True, slots=True)
class ExportJob:
    """Nothing exists until its manifest does: whatever fails before that is removed, and reconcile removes the rest."""

    fly: ExportFly
    access: AccessIssuer
    workers: Workers
    stores: Mapping[str, BoundStore]
    catalog: Catalog
    clock: Clock
    ids: IdSource
    signer: Signer
    index_key: IndexKey
    settings: ExportSettings
    snapshots: SnapshotSource | None = None

    async def run(self, work: TargetWork) -> Outcome:
        earlier = await self._earlier_copies(work)
        if earlier and len(earlier) == len(work.rule.policy.copies):
            return outcome_of(list(earlier.values()))
        volume = await self.fly.volume(work.lineage.app, work.lineage.volume_id)
        attached = volume.attached_machine_id
        machine = await self.fly.machine(volume.app, attached) if attached else None
        facts = await self.snapshots.facts(work, volume) if self.snapshots else NO_WORKERS
        plan = plan_export(work.rule, volume=volume, machine=machine, request=work.run.request, facts=facts)
        await work.journal.step("plan", source=plan.source, why="; ".join(plan.reasons))
        snapshot = await self._snapshot(work, plan, volume)
        reading = _Reading(plan, volume, ExportId(self.ids.run_id()), snapshot)
        copies = list(earlier.values())
        failures: list[FlykeepError] = []
        for name in (store for store in plan.stores if store not in earlier):
            try:
                copies.append(await self._copy(work, reading, self.stores[name]))
            except FlykeepError as error:
                await work.journal.step("copy failed", store=name, code=error.code, error=str(error))
                failures.append(error.with_facts(store=name))
        if failures:
            raise failures[0].with_facts(
                committed=", ".join(copy.store for copy in copies) or None,
                failed_too=", ".join(error.facts["store"] for error in failures[1:]) or None,
            )
        return outcome_of(copies)

    async def _earlier_copies(self, work: TargetWork) -> dict[str, Artifact]:
        """What earlier attempts of the same slot committed, by store, so that no store gets the slot twice.

        Such an attempt was interrupted between its manifest and its end, and reconcile adopted the artifact; or it
        failed for another store.
        """
        slot_at, rule = work.run.slot.scheduled_at, work.rule
        if slot_at is None:
            return {}
        wanted = {copy.store for copy in rule.policy.copies}
        found: dict[str, Artifact] = {}
        async with self.catalog.transaction() as tx:
            runs = await tx.runs(lineage_id=work.lineage.id, kind=JobKind.EXPORT, scheduled_at=slot_at)
            for run in runs:
                for intent in export_intents(await tx.steps(run.id)):
                    copies = await tx.artifact(intent.export_id)
                    found |= {copy.store: copy for copy in copies if copy.store in wanted and _is_of(copy, rule)}
        for copy in found.values():
            await work.journal.step("exported already", export_id=copy.export_id, store=copy.store)
        return found

    async def _snapshot(self, work: TargetWork, plan: ExportPlan, volume: Volume) -> VolumeSnapshot | None:
        if plan.source != "snapshot":
            return None
        assert self.snapshots is not None  # the plan refuses it otherwise
        return await self.snapshots.choose(work, volume)

    async def _copy(self, work: TargetWork, reading: _Reading, target: BoundStore) -> Artifact:
        """Export into one store and commit; on any failure, cancellation included, leave nothing behind."""
        export_id, snapshot = reading.export_id, reading.snapshot
        started_at = snapshot.created_at if snapshot and snapshot.created_at else self.clock.now()
        prefix = layout.artifact_prefix(work.lineage.app, work.lineage.volume_name, export_id, started_at)
        await work.journal.step(BEGUN, export_id=export_id, store=target.store.name, prefix=prefix)
        try:
            result, is_made_consistent = await self._read(work, reading, prefix, target)
            plan, volume = reading.plan, reading.volume
            taken = Taken(work, plan, volume, export_id, result, is_made_consistent, started_at, snapshot)
            artifact = await self._committer().commit(target.store, prefix, taken)
        except BaseException:
            await self._abandon(work, target.store, prefix)
            raise
        await work.journal.step(COMMITTED, export_id=export_id, store=target.store.name)
        return artifact

    async def _read(
        self, work: TargetWork, reading: _Reading, prefix: str, target: BoundStore
    ) -> tuple[ExportResult, bool]:
        """What a worker stored, and whether a hook held the application's files consistent meanwhile."""
        plan, hooks = reading.plan, work.rule.hooks
        if reading.snapshot is not None:
            assert self.snapshots is not None
            order = self._order(reading, prefix, target, None)
            return await self.snapshots.export(work, reading.volume, reading.snapshot, order), False
        assert plan.machine is not None  # the plan refuses the ssh source without one
        async with HookRunner(self.fly).around(
            plan.machine, before=hooks.before_export, after=hooks.after_export, journal=work.journal
        ) as hook:
            order = self._order(reading, prefix, target, await self.access.access(plan.machine))
            result = await self.workers.export(order, on_progress=work.on_progress)
        return result, hook.made_consistent

    def _committer(self) -> Committer:
        return Committer(self.catalog, self.clock, self.signer, self.settings.recipients, self.settings.flykeep_version)

    def _order(self, reading: _Reading, prefix: str, target: BoundStore, access: SshAccess | None) -> ExportOrder:
        plan = reading.plan
        return ExportOrder(
            export_id=reading.export_id,
            key_prefix=prefix,
            access=access,
            directory=plan.directory,
            include=plan.include,
            exclude=plan.exclude,
            store=target.order,
            recipients=self.settings.recipients,
            index_recipient=self.index_key.recipient,
            compression=self.settings.compression,
            expected_bytes=plan.expected_bytes,
            deadline_s=self.settings.deadline.total_seconds(),
            stall_timeout_s=self.settings.stall_timeout.total_seconds(),
        )

    async def _abandon(self, work: TargetWork, store: Store, prefix: str) -> None:
        """Remove a half-made export, or adopt it where its manifest was written after all; bounded and shielded.

        Where a worker machine was left behind it may go on writing, so its export is left to reconcile, which ends it.
        """
        cleanup = asyncio.ensure_future(self._settle(work, store, prefix))
        try:
            async with asyncio.timeout(_CLEANUP_LIMIT.total_seconds()):
                settled = await asyncio.shield(cleanup)
        except (FlykeepError, TimeoutError) as error:
            cleanup.cancel()
            await work.journal.step("left behind", store=store.name, prefix=prefix, error=str(error) or "timed out")
            return
        if settled is not None:
            await work.journal.step(SETTLED, store=store.name, removed=len(settled.removed))

    async def _settle(self, work: TargetWork, store: Store, prefix: str) -> Settled | None:
        async with self.catalog.transaction() as tx:
            if may_still_write(await tx.steps(work.run.id)):
                return None
        return await Settler(self.catalog, self.clock, self.signer).settle(store, prefix)


def _is_of(copy: Artifact, rule: TargetRule) -> bool:
    """Whether the copy is good and holds what the configuration asks for now."""
    origin = copy.manifest.origin
    return (
        not copy.is_failed
        and copy.leaving_at is None
        and (origin.paths, origin.excluded) == (rule.include, rule.exclude)
    )

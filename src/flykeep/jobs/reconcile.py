"""Close the runs of dead processes, and settle what they left: adopt finished artifacts, remove half-made ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from flykeep.domain.documents import to_json
from flykeep.domain.errors import IntegrityError, StoreError
from flykeep.domain.ids import RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, Run, RunState, Step
from flykeep.jobs.context import OrgWork
from flykeep.jobs.copy_removal import CopyLeftover, CopyRemover
from flykeep.jobs.drill_sweep import DrillSweep, RoomLeftover
from flykeep.jobs.import_sweep import ImportLeftover, ImportSweep
from flykeep.jobs.orphans import close_orphan, orphans_of
from flykeep.jobs.removal import Remover, UnendedRemoval
from flykeep.jobs.restore_sweep import RestoreLeftover, RestoreSweep
from flykeep.jobs.scratch_steps import may_still_write
from flykeep.jobs.scratch_sweep import ScratchLeftover, ScratchSweep
from flykeep.jobs.settle import EXPORTING, SETTLED, ExportIntent, Settler, unsettled
from flykeep.jobs.upload_sweep import Unswept, UploadLeftover, UploadReport, UploadSweep
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.ownership import Owners
from flykeep.ports.store import Store

_SCRATCH_KINDS = (
    JobKind.EXPORT,
    JobKind.DRILL,
    JobKind.RESTORE,
    JobKind.RECOVER,
    JobKind.CHECKPOINT,
    JobKind.VOLUME,
)
_LOOK_BACK = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Leftover:
    """What one unsettled export left in one store; `action` is what was done, or would be."""

    run_id: RunId
    store: str
    prefix: str
    action: str  # "adopt" | "remove" | "nothing left" | "kept: <why>"
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    interrupted: tuple[RunId, ...]
    leftovers: tuple[Leftover, ...]
    is_applied: bool
    scratch: tuple[ScratchLeftover, ...] = ()
    uploads: tuple[UploadLeftover, ...] = ()
    unswept: tuple[Unswept, ...] = ()
    imports: tuple[ImportLeftover, ...] = ()
    removals: tuple[UnendedRemoval, ...] = ()
    rooms: tuple[RoomLeftover, ...] = ()
    copies: tuple[CopyLeftover, ...] = ()
    restores: tuple[RestoreLeftover, ...] = ()

    @property
    def is_anything_found(self) -> bool:
        found = (self.interrupted, self.leftovers, self.scratch, self.uploads, self.imports, self.removals, self.rooms)
        return any((*found, self.copies, self.restores))


@dataclass(frozen=True, slots=True)
class ReconcileJob:
    """What flykeep did not journal creating is never touched."""

    catalog: Catalog
    owners: Owners
    clock: Clock
    stores: Mapping[str, Store]
    settler: Settler
    scratch: ScratchSweep | None = None
    uploads: UploadSweep | None = None
    imports: ImportSweep | None = None
    remover: Remover | None = None
    rooms: DrillSweep | None = None
    copies: CopyRemover | None = None
    restores: RestoreSweep | None = None

    async def run(self, work: OrgWork) -> Outcome:
        report = await self.reconcile(is_applied=True, is_thorough=False)
        if report.is_anything_found:
            await work.journal.step(
                "reconciled",
                interrupted=len(report.interrupted),
                leftovers=len(report.leftovers),
                scratch=", ".join(f"{left.action}: {' '.join(left.names)}" for left in report.scratch) or None,
                imports=", ".join(f"{left.run_id}: {left.action}" for left in report.imports) or None,
                restores=", ".join(f"{left.run_id}: {left.action}" for left in report.restores) or None,
                rooms=", ".join(f"{left.action}: {left.run_id}" for left in report.rooms) or None,
                copies=", ".join(f"{left.action}: {left.app} {left.volume}" for left in report.copies) or None,
                uploads=", ".join(f"{left.action}: {left.store} {left.key}" for left in report.uploads) or None,
                removals=", ".join(f"{left.action}: {left.store} {left.export_id}" for left in report.removals) or None,
            )
        return Outcome(RunState.SUCCEEDED, to_json(report))

    async def reconcile(self, *, is_applied: bool, is_thorough: bool = True) -> ReconcileReport:
        """Without `is_applied` nothing is changed: the report says what would be.

        Without `is_thorough` buckets are asked for unfinished uploads only where that is due, and Fly only for what
        runs left: nothing is looked for that flykeep has not made.
        """
        dead = await self._dead_runs()
        if is_applied:
            for run in dead:
                await close_orphan(run, self.catalog, now=self.clock.now())
        # Machines first: as long as a worker lives it may write what was just looked for.
        scratch = await self._sweep(dead, is_applied=is_applied, is_thorough=is_thorough)
        leftovers = [
            await self._settle(run_id, intent, is_applied=is_applied) for run_id, intent in await self._intents(dead)
        ]
        removals = await self.remover.finish_all(is_applied=is_applied) if self.remover else ()
        uploads = await self._sweep_uploads(dead, is_applied=is_applied, is_thorough=is_thorough)
        imports = await self.imports.sweep(dead, is_applied=is_applied) if self.imports else ()
        ids = tuple(run.id for run in dead)
        rooms = await self.rooms.sweep(ids, is_applied=is_applied) if self.rooms else ()
        copies = await self.copies.sweep(ids, is_applied=is_applied) if self.copies else ()
        restores = await self.restores.sweep(dead, is_applied=is_applied) if self.restores else ()
        looked = (uploads.leftovers, uploads.unswept, imports, removals, rooms, copies, restores)
        return ReconcileReport(ids, tuple(leftovers), is_applied, scratch, *looked)

    async def _sweep_uploads(self, dead: Sequence[Run], *, is_applied: bool, is_thorough: bool) -> UploadReport:
        if self.uploads is None or not (is_thorough or await self.uploads.is_due()):
            return UploadReport()
        return await self.uploads.sweep([run.id for run in dead], is_applied=is_applied)

    async def _sweep(self, dead: Sequence[Run], *, is_applied: bool, is_thorough: bool) -> tuple[ScratchLeftover, ...]:
        """Temporary machines and volumes of runs that are over; those of living processes are left alone."""
        if self.scratch is None:
            return ()
        over: list[RunId] = []
        alive: list[RunId] = []
        async with self.catalog.transaction() as tx:
            for kind in _SCRATCH_KINDS:
                ended = _recent(await tx.runs(kind=kind, is_open=False, limit=1000), self.clock.now())
                over += [run.id for run in ended]
                alive += [run.id for run in await tx.runs(kind=kind, is_open=True, limit=1000)]
        gone = [run.id for run in dead if run.kind in _SCRATCH_KINDS]
        over += [run_id for run_id in gone if run_id not in over]
        alive = [run_id for run_id in alive if run_id not in over]
        return await self.scratch.sweep(over, alive, is_applied=is_applied, is_thorough=is_thorough)

    async def _dead_runs(self) -> list[Run]:
        async with self.catalog.transaction() as tx:
            open_runs = await tx.runs(is_open=True, limit=1000)
        return await orphans_of(open_runs, self.owners)

    async def _intents(self, dead: Sequence[Run]) -> list[tuple[RunId, ExportIntent]]:
        """Exports journalled as begun and neither committed nor settled, of runs that are over."""
        now = self.clock.now()
        intents: list[tuple[RunId, ExportIntent]] = []
        async with self.catalog.transaction() as tx:
            ended = [run for kind in EXPORTING for run in await tx.runs(kind=kind, is_open=False, limit=1000)]
            exports = {run.id: run for run in [*_recent(ended, now), *dead] if run.kind in EXPORTING}
            for run_id in exports:
                intents.extend((run_id, intent) for intent in unsettled(await tx.steps(run_id)))
        return intents

    async def _settle(self, run_id: RunId, intent: ExportIntent, *, is_applied: bool) -> Leftover:
        """A store that does not answer is asked again next time: it must not keep a daemon from starting."""
        left = partial(Leftover, run_id, intent.store, intent.prefix)
        store = self.stores.get(intent.store)
        if store is None:
            return left("kept: the store is not configured any more")
        if is_applied and await self._may_still_be_written(run_id):
            return left("kept: its worker machine may still be writing")
        try:
            settled = await self.settler.settle(store, intent.prefix, is_applied=is_applied)
        except (StoreError, IntegrityError) as error:
            return left(f"kept: {error.message}")
        if is_applied:
            await self._journal_settled(run_id, intent.store)
        if settled.artifact is not None:
            return left("adopt")
        return left("remove" if settled.removed else "nothing left", settled.removed)

    async def _may_still_be_written(self, run_id: RunId) -> bool:
        async with self.catalog.transaction() as tx:
            return may_still_write(await tx.steps(run_id))

    async def _journal_settled(self, run_id: RunId, store: str) -> None:
        async with self.catalog.transaction() as tx:
            number = max(step.number for step in await tx.steps(run_id)) + 1  # a step that failed leaves a gap
            await tx.add_step(Step(run_id, number, SETTLED, self.clock.now(), json.dumps({"store": store})))


def _recent(runs: Sequence[Run], now: datetime) -> list[Run]:
    return [run for run in runs if run.ended_at and now - run.ended_at < _LOOK_BACK]

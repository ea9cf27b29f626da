"""What restores have done so far, kept among the steps of the run that began each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flykeep.domain.errors import NotFoundError
from flykeep.domain.ids import LineageId, MachineId, RunId, VolumeId
from flykeep.domain.lineages import moved
from flykeep.domain.policy import JobKind
from flykeep.domain.restore_phases import PREFIX, RestorePhase, RestoreRecord, restore_record
from flykeep.domain.run import Run, Step
from flykeep.jobs.context import TargetWork
from flykeep.ports.catalog import Catalog, Transaction
from flykeep.ports.clock import Clock

_RUNS = 500


@dataclass(frozen=True, slots=True)
class RestoreLog:
    """Read and written by restores, by those that end them, by reconcile and by checks."""

    catalog: Catalog
    clock: Clock

    async def records(self, lineage_id: LineageId | None = None) -> tuple[RestoreRecord, ...]:
        """The restores that are not over, of one target or of all; newest first."""
        async with self.catalog.transaction() as tx:
            return await restores(tx, lineage_id)

    async def record(self, run_id: RunId) -> RestoreRecord:
        """Raises NotFoundError where that run restored nothing, or nothing of it is left."""
        async with self.catalog.transaction() as tx:
            record = restore_record(run_id, await tx.steps(run_id))
        if record is None or record.is_over:
            raise NotFoundError(
                f"run {run_id} left no restore that could be resumed, undone or finalized",
                hint="`flykeep runs` lists runs; what is left of a restore stands in `flykeep runs RUN`.",
            )
        return record


async def restores(tx: Transaction, lineage_id: LineageId | None = None) -> tuple[RestoreRecord, ...]:
    """The restores that are not over, newest first."""
    runs = await tx.runs(lineage_id=lineage_id, kind=JobKind.RESTORE, limit=_RUNS)
    found = [restore_record(run.id, await tx.steps(run.id)) for run in runs if _is_beginning(run)]
    return tuple(record for record in found if record is not None and not record.is_over)


@dataclass(frozen=True, slots=True)
class OpenRestores:
    """What a check wants to know: restores that are not over, by target, and the targets that a run works on."""

    records: Mapping[LineageId, tuple[RestoreRecord, ...]]
    at_work: frozenset[LineageId]

    @classmethod
    async def read(cls, tx: Transaction) -> OpenRestores:
        """Of all targets."""
        runs = await tx.runs(kind=JobKind.RESTORE, limit=_RUNS)
        found: dict[LineageId, tuple[RestoreRecord, ...]] = {}
        for run in filter(_is_beginning, runs):
            record = restore_record(run.id, await tx.steps(run.id))
            if record is not None and not record.is_over:
                found[run.lineage_id] = (*found.get(run.lineage_id, ()), record)
        return cls(found, frozenset(run.lineage_id for run in runs if not run.state.is_final))


def _is_beginning(run: Run) -> bool:
    """Whether a run is a restore itself: not the end of one, and no copy into another app."""
    return run.request.ending is None and run.request.to_app is None


@dataclass(frozen=True, slots=True)
class Course:
    """One restore as this process goes on with it; `run_id` is the run that began it, `work` is of the run at work."""

    log: RestoreLog
    run_id: RunId
    work: TargetWork

    async def record(self) -> RestoreRecord:
        """What has been journalled, whether it is over or not."""
        async with self.log.catalog.transaction() as tx:
            record = restore_record(self.run_id, await tx.steps(self.run_id))
        assert record is not None  # a course begins with the first step
        return record

    async def enter(self, phase: RestorePhase, **detail: str | int | None) -> None:
        """Journal that the restore now enters a phase."""
        await self.note(phase.step, **detail, then=phase.coming)

    async def note(self, name: str, /, **detail: str | int | None) -> None:
        """Journal a step of the restore, in the run that began it and in the one at work."""
        journal = self.work.journal
        if journal.run.id == self.run_id:
            await journal.step(name, **detail)
            return
        async with self.log.catalog.transaction() as tx:
            await self._add(tx, name, detail)
        await journal.step(f"{self.run_id} {name.removeprefix(PREFIX)}", **detail)

    async def enter_moved(
        self, phase: RestorePhase, *, volume_id: VolumeId, machine_id: MachineId | None, machine_name: str
    ) -> None:
        """Enter a phase and move the target to other ids, both or neither."""
        detail: dict[str, str | int | None] = {"volume": volume_id, "machine": machine_id, "then": phase.coming}
        async with self.log.catalog.transaction() as tx:
            lineages = {one.id: one for one in await tx.lineages(include_retired=True)}
            lineage = lineages[self.work.lineage.id]
            await tx.save_lineage(moved(lineage, volume_id=volume_id, machine_id=machine_id, machine_name=machine_name))
            if self.work.journal.run.id == self.run_id:
                step = await self.work.journal.add(tx, phase.step, **detail)
            else:
                step = await self._add(tx, phase.step, detail)
        if self.work.journal.on_step:
            self.work.journal.on_step(step)

    async def _add(self, tx: Transaction, name: str, detail: dict[str, str | int | None]) -> Step:
        number = max((step.number for step in await tx.steps(self.run_id)), default=0) + 1
        known = {key: value for key, value in detail.items() if value is not None}
        text = json.dumps(known, ensure_ascii=False) if known else ""
        step = Step(self.run_id, number, name, self.log.clock.now(), text)
        await tx.add_step(step)
        return step


def of_run(runs: Sequence[Run], run_id: RunId) -> tuple[RunId, ...]:
    """The run that began a restore, and those that went on with it."""
    return (run_id, *(run.id for run in runs if run.request.of_run == run_id))

"""What imports have done so far, kept among the steps of the run that began each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flykeep.domain.errors import NotFoundError
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.imports import ImportPhase, ImportRecord, import_record
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, Step
from flykeep.jobs.context import Journal
from flykeep.ports.catalog import Catalog, Transaction
from flykeep.ports.clock import Clock

_RUNS = 1000


@dataclass(frozen=True, slots=True)
class OpenImports:
    """What a check wants to know: imports that are not over, by target, and the targets that a run works on."""

    records: Mapping[LineageId, tuple[ImportRecord, ...]]
    at_work: frozenset[LineageId]

    @classmethod
    async def read(cls, tx: Transaction) -> OpenImports:
        """Of all targets."""
        runs = await tx.runs(kind=JobKind.IMPORT, limit=_RUNS)
        targets = {run.id: run.lineage_id for run in runs}
        found: dict[LineageId, tuple[ImportRecord, ...]] = {}
        for record in await _not_over(tx, runs):
            target = targets[record.run_id]
            found[target] = (*found.get(target, ()), record)
        return cls(found, frozenset(run.lineage_id for run in runs if not run.state.is_final))


@dataclass(frozen=True, slots=True)
class ImportLog:
    """Read and written by imports, by those that end them, and by reconcile."""

    catalog: Catalog
    clock: Clock

    async def note(
        self, run_id: RunId, phase: ImportPhase, *, journal: Journal | None = None, restart: bool | None = None
    ) -> None:
        """Journal that `run_id` now enters a phase; `journal` is that of the run that does it, which is told too."""
        if journal is not None:
            of_run = None if journal.run.id == run_id else run_id
            await journal.step(phase.step if of_run is None else f"{phase.value} {of_run}", restart=restart)
            if of_run is None:
                return
        detail = json.dumps({"restart": restart}) if restart is not None else ""
        async with self.catalog.transaction() as tx:
            number = max((step.number for step in await tx.steps(run_id)), default=0) + 1
            await tx.add_step(Step(run_id, number, phase.step, self.clock.now(), detail))

    async def records(self, lineage_id: LineageId) -> tuple[ImportRecord, ...]:
        """The target's imports that are not over, of runs that are; newest first."""
        async with self.catalog.transaction() as tx:
            runs = await tx.runs(lineage_id=lineage_id, kind=JobKind.IMPORT, is_open=False, limit=_RUNS)
        return await self.of_runs(runs)

    async def of_runs(self, runs: Sequence[Run]) -> tuple[ImportRecord, ...]:
        """The imports among them that are not over."""
        async with self.catalog.transaction() as tx:
            return await _not_over(tx, runs)

    async def record(self, run_id: RunId) -> ImportRecord:
        """Raises NotFoundError where that run imported nothing, or nothing of it is left."""
        async with self.catalog.transaction() as tx:
            record = import_record(run_id, await tx.steps(run_id))
        if record is None or record.phase is ImportPhase.OVER:
            raise NotFoundError(f"run {run_id} left no import that could be confirmed or undone")
        return record


async def _not_over(tx: Transaction, runs: Sequence[Run]) -> tuple[ImportRecord, ...]:
    found = [import_record(run.id, await tx.steps(run.id)) for run in runs]
    return tuple(record for record in found if record is not None and record.phase is not ImportPhase.OVER)

"""Imports whose process died, or gave up, in the middle: what reconcile does with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flykeep.domain.errors import FlykeepError
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.imports import ImportRecord
from flykeep.domain.policy import JobKind, TargetRule, rule_for
from flykeep.domain.run import Run
from flykeep.domain.target import Lineage
from flykeep.jobs.import_log import ImportLog
from flykeep.jobs.import_moving import ImportMover
from flykeep.jobs.import_planner import ImportPlanner
from flykeep.ports.catalog import Catalog


@dataclass(frozen=True, slots=True)
class ImportLeftover:
    """One import that stopped half-way; `action` is what was done, or would be."""

    run_id: RunId
    target: str
    phase: str
    action: str  # "over" | "moved" | "undone" | "kept: <why>"


@dataclass(frozen=True, slots=True)
class ImportSweep:
    """Goes on with what was begun: a half-moved tree is finished, for all of it was compared before."""

    catalog: Catalog
    log: ImportLog
    planner: ImportPlanner
    mover: ImportMover
    rules: tuple[TargetRule, ...]

    async def sweep(self, dead: Sequence[Run], *, is_applied: bool) -> tuple[ImportLeftover, ...]:
        """`dead` are open runs whose process is gone."""
        gone = {run.id for run in dead}
        async with self.catalog.transaction() as tx:
            every = await tx.runs(kind=JobKind.IMPORT, limit=1000)
            alive = {run.lineage_id for run in await tx.runs(is_open=True, limit=1000) if run.id not in gone}
            lineages = {lineage.id: lineage for lineage in await tx.lineages(include_retired=True)}
        over = [run for run in every if run.state.is_final or run.id in gone]
        targets = {run.id: run.lineage_id for run in over}
        return tuple(
            [
                await self._settle(record, lineages.get(targets[record.run_id]), alive, is_applied=is_applied)
                for record in await self.log.of_runs(over)
                if record.is_half_done
            ]
        )

    async def _settle(
        self, record: ImportRecord, lineage: Lineage | None, alive: set[LineageId], *, is_applied: bool
    ) -> ImportLeftover:
        """A machine that cannot be reached is asked again next time: it must not keep a daemon from starting."""
        label = lineage.label if lineage else "unknown"
        action = record.next_phase.value
        if lineage is None:
            action = "kept: its target is not known any more"
        elif lineage.id in alive:
            action = "kept: another run works on this target"
        elif is_applied:
            action = await self._gone_on(record, lineage) or action
        return ImportLeftover(record.run_id, label, record.phase.value, action)

    async def _gone_on(self, record: ImportRecord, lineage: Lineage) -> str | None:
        """Why it could not be gone on with, or None."""
        rule = rule_for(self.rules, app=lineage.app, volume_name=lineage.volume_name, machine=lineage.machine_name)
        if rule is None:
            return "kept: no target of the configuration matches it any more"
        try:
            await self.mover.go_on(await self.planner.locate(lineage, rule), record)
        except FlykeepError as error:
            return f"kept: {error.message}"
        return None

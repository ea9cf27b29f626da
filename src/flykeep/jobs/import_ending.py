"""End an import that is kept: undo it, or confirm it and drop what it kept."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.domain.ids import RunId
from flykeep.domain.imports import ImportPhase, refuse_ending
from flykeep.domain.run import Outcome
from flykeep.jobs.context import TargetWork
from flykeep.jobs.import_log import ImportLog
from flykeep.jobs.import_moving import ImportMover
from flykeep.jobs.import_planner import ImportPlanner
from flykeep.jobs.import_result import outcome_of


@dataclass(frozen=True, slots=True)
class ImportEnding:
    """What a person decides about an import, `import confirm` and `import undo`."""

    planner: ImportPlanner
    log: ImportLog
    mover: ImportMover

    async def run(self, work: TargetWork, ending: str) -> Outcome:
        """Raises RefusalError where the import is not at a point from which this is possible."""
        record = await self.log.record(RunId(work.run.request.of_run or ""))
        refuse_ending(ending, record)
        at = await self.planner.locate(work.lineage, work.rule)
        if ending == "confirm":
            await self.mover.drop(at, record.run_id, journal=work.journal)
            return outcome_of(record.run_id, "", ImportPhase.OVER, None, None)
        condition = await self.mover.change(
            at,
            record.run_id,
            ImportPhase.UNDOING,
            is_restarting=work.run.request.is_restarting,
            journal=work.journal,
        )
        return outcome_of(record.run_id, "", ImportPhase.UNDONE, condition, None)

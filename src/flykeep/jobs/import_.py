"""Bring files back into a running machine: plan, stage beside the data, compare there, move into place, restart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import FlykeepError
from flykeep.domain.ids import RunId
from flykeep.domain.import_plan import ImportPlan
from flykeep.domain.imports import ImportPhase
from flykeep.domain.run import Outcome
from flykeep.jobs.context import TargetWork
from flykeep.jobs.import_artifacts import ArtifactReader
from flykeep.jobs.import_ending import ImportEnding
from flykeep.jobs.import_log import ImportLog
from flykeep.jobs.import_moving import ImportMover, Location
from flykeep.jobs.import_planner import ImportPlanner
from flykeep.jobs.import_result import outcome_of
from flykeep.ports.fly import AccessIssuer
from flykeep.ports.importing import FileSource, Importers, ImportOrder

_CLEANUP_LIMIT = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ImportSettings:
    deadline: timedelta
    stall_timeout: timedelta


@dataclass(frozen=True, slots=True)
class ImportJob:
    """The application's files are touched by the move alone; what fails before that is removed from the volume."""

    planner: ImportPlanner
    access: AccessIssuer
    importers: Importers
    artifacts: ArtifactReader
    log: ImportLog
    mover: ImportMover
    ending: ImportEnding
    settings: ImportSettings

    async def run(self, work: TargetWork) -> Outcome:
        request = work.run.request
        if request.ending is not None:
            return await self.ending.run(work, request.ending)
        await self._settle(work)
        plan = await self.planner.plan(work.lineage, work.rule, request)
        await work.journal.step("plan", source=plan.source, why="; ".join(plan.reasons))
        at, run_id = Location(plan.machine, plan.directory), work.run.id
        await self.log.note(run_id, ImportPhase.STAGING, journal=work.journal)
        try:
            result = await self.importers.stage(await self._order(run_id, plan), on_progress=work.on_progress)
            await work.journal.step("compared", files=result.files, bytes=result.content_bytes)
            moving = self.mover.change(
                at, run_id, ImportPhase.MOVING, is_restarting=plan.is_restarting, journal=work.journal
            )
            condition = await moving
        except BaseException:
            await self._abandon(work, at)
            raise
        return outcome_of(run_id, plan.source, ImportPhase.MOVED, condition, result)

    async def _order(self, run_id: RunId, plan: ImportPlan) -> ImportOrder:
        source = self.artifacts.source(plan.artifact) if plan.artifact else FileSource(plan.source)
        return ImportOrder(
            run_id=run_id,
            access=await self.access.access(plan.machine),
            directory=plan.directory,
            source=source,
            paths=plan.paths,
            deadline_s=self.settings.deadline.total_seconds(),
            stall_timeout_s=self.settings.stall_timeout.total_seconds(),
        )

    async def _settle(self, work: TargetWork) -> None:
        """Imports of this target that died half-way are brought to an end before another one begins."""
        for record in await self.log.records(work.lineage.id):
            if record.is_half_done:
                at = await self.planner.locate(work.lineage, work.rule)
                await self.mover.go_on(at, record, journal=work.journal)

    async def _abandon(self, work: TargetWork, at: Location) -> None:
        """Remove what was staged unless it has begun to move; bounded, shielded, with reconcile as the second line."""
        cleanup = asyncio.ensure_future(self._discard(work, at))
        try:
            async with asyncio.timeout(_CLEANUP_LIMIT.total_seconds()):
                await asyncio.shield(cleanup)
        except (FlykeepError, TimeoutError) as error:
            cleanup.cancel()
            await work.journal.step("left behind", directory=at.directory, error=str(error) or "timed out")

    async def _discard(self, work: TargetWork, at: Location) -> None:
        record = await self.log.record(work.run.id)
        if record.phase is ImportPhase.STAGING:
            await self.mover.discard(at, record.run_id, journal=work.journal)

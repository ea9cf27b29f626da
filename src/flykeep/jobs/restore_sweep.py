"""Restores whose process died, or gave up, in the middle: what reconcile does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import FlykeepError
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.lineages import rule_of
from flykeep.domain.policy import TargetRule
from flykeep.domain.restore_phases import RestoreRecord, next_step
from flykeep.domain.run import Run
from flykeep.domain.target import Lineage
from flykeep.jobs.context import Journal, TargetWork
from flykeep.jobs.restore import RestoreJob
from flykeep.jobs.restore_leases import Leases
from flykeep.jobs.restore_log import Course
from flykeep.jobs.restore_switch import Fencer

_LIMIT = timedelta(minutes=8)  # a dead process's lease is waited for, and a daemon waits for this


@dataclass(frozen=True, slots=True)
class RestoreLeftover:
    """One restore that stopped half-way; `action` is what was done, or would be."""

    run_id: RunId
    target: str
    phase: str
    action: str  # a phase it was brought to | "go on" | "kept: <why>"


@dataclass(frozen=True, slots=True)
class RestoreSweep:
    """Goes on with what stands between two machines, where the application may be down; the rest waits for a person.

    Before the switch nothing of the application was touched, and what was made may be worth hours: it is only told of.
    """

    job: RestoreJob
    rules: tuple[TargetRule, ...]

    async def sweep(self, dead: Sequence[Run], *, is_applied: bool) -> tuple[RestoreLeftover, ...]:
        """`dead` are open runs whose process is gone."""
        gone = {run.id for run in dead}
        records = await self.job.log.records()
        async with self.job.log.catalog.transaction() as tx:
            alive = {run.lineage_id for run in await tx.runs(is_open=True, limit=1000) if run.id not in gone}
            lineages = {lineage.id: lineage for lineage in await tx.lineages(include_retired=True)}
            runs = {record.run_id: await tx.run(record.run_id) for record in records}
        found = []
        for record in records:
            run = runs[record.run_id]
            if run is not None and (record.is_half_done or record.is_fence_due):
                found.append(
                    await self._settle(record, run, lineages.get(run.lineage_id), alive, is_applied=is_applied)
                )
        return tuple(found)

    async def _settle(
        self, record: RestoreRecord, run: Run, lineage: Lineage | None, alive: set[LineageId], *, is_applied: bool
    ) -> RestoreLeftover:
        """A Fly that does not answer is asked again next time: it must not keep a daemon from starting."""
        label = lineage.label if lineage else "unknown"
        if lineage is None:
            action = "kept: its target is not known any more"
        elif lineage.id in alive:
            action = "kept: another run works on this target"
        elif record.is_half_done and record.phase.is_before_switch:
            action = f"kept: nothing was touched. {next_step(record)}"
        elif not is_applied:
            action = "go on"
        else:
            action = await self._gone_on(record, run, lineage)
        return RestoreLeftover(record.run_id, label, record.phase.value, action)

    async def _gone_on(self, record: RestoreRecord, run: Run, lineage: Lineage) -> str:
        rule = rule_of(lineage, self.rules)
        if rule is None:
            return "kept: no target of the configuration matches it any more"
        async with self.job.log.catalog.transaction() as tx:
            number = max((step.number for step in await tx.steps(run.id)), default=0)
        journal = Journal(run, self.job.log.catalog, self.job.clock, _number=number)
        course = Course(self.job.log, run.id, TargetWork(run, lineage, rule, journal))
        try:
            async with asyncio.timeout(_LIMIT.total_seconds()):
                if record.is_half_done:
                    await self.job.go_on(course, "resume")
                    return (await course.record()).phase.value
                return await self._fenced(course, record)
        except FlykeepError as error:
            return f"kept: {error.message}"
        except TimeoutError:
            return "kept: it takes too long; the next one goes on"

    async def _fenced(self, course: Course, record: RestoreRecord) -> str:
        leases = Leases(self.job.fly, self.job.clock, course, ours_until=record.lease_until)
        try:
            done = await Fencer(self.job.switch).settle(course, leases)
        finally:
            await leases.release()
        return done or "kept: the old machine's host does not answer yet"

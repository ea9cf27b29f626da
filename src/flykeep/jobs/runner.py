"""Executes one claimed run and records how it ended. The only place that catches broadly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from flykeep.domain.defects import kind_of, places_of
from flykeep.domain.errors import FlykeepError, InternalError, RefusalError, StateError, TargetNotFoundError
from flykeep.domain.policy import JobKind, TargetRule, rule_for
from flykeep.domain.run import Failure, Outcome, Run, RunState, Step
from flykeep.domain.target import Lineage, is_org_wide
from flykeep.jobs.context import Journal, OrgWork, TargetWork
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.worker import Progress

_RECORD_LIMIT = timedelta(seconds=20)
_PROGRESS_EVERY = timedelta(seconds=10)

log = structlog.get_logger()


class TargetJob(Protocol):
    async def run(self, work: TargetWork) -> Outcome: ...


class OrgJob(Protocol):
    async def run(self, work: OrgWork) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Watcher:
    """Where the executing process shows what a run does; silent by default."""

    on_step: Callable[[Step], None] | None = None
    on_progress: Callable[[Progress], None] | None = None


@dataclass(frozen=True, slots=True)
class Jobs:
    """The use-cases by kind."""

    for_target: dict[JobKind, TargetJob]
    for_org: dict[JobKind, OrgJob]


@dataclass(frozen=True, slots=True)
class Runner:
    catalog: Catalog
    clock: Clock
    rules: tuple[TargetRule, ...]
    jobs: Jobs

    async def execute(self, run: Run, *, watcher: Watcher | None = None) -> Outcome:
        """Execute a run this process has claimed, and record its outcome whatever it is.

        Cancellation is recorded as `interrupted` and passed on. Logs one canonical line per run.
        """
        watcher = watcher or Watcher()
        with structlog.contextvars.bound_contextvars(run=run.id, kind=run.kind.value):
            started = self.clock.monotonic()
            try:
                outcome = await self._attempt(run, watcher)
            except asyncio.CancelledError:
                outcome = interrupted_outcome("the process was asked to stop")
                await self._record_interruption(run, outcome)
                self._log(run, outcome, self.clock.monotonic() - started)
                raise
            await self._record(run, outcome)
            self._log(run, outcome, self.clock.monotonic() - started)
            return outcome

    async def _attempt(self, run: Run, watcher: Watcher) -> Outcome:
        try:
            return await self._dispatch(run, watcher)
        except FlykeepError as error:
            state = RunState.REFUSED if isinstance(error, RefusalError) else RunState.FAILED
            return Outcome(state, failure=failure_of(error))
        except Exception as error:  # noqa: BLE001 - told as a defect, without its words
            log.error("run.defect", error=kind_of(error), places=places_of(error))  # noqa: TRY400 - no foreign words
            defect = InternalError(f"flykeep met {kind_of(error)}", facts={"run": run.id})
            return Outcome(RunState.FAILED, failure=failure_of(defect))

    async def _dispatch(self, run: Run, watcher: Watcher) -> Outcome:
        journal = Journal(run, self.catalog, self.clock, on_step=watcher.on_step)
        if is_org_wide(run.lineage_id):
            return await self.jobs.for_org[run.kind].run(OrgWork(run, journal))
        lineage = await self._lineage(run)
        rule = rule_for(self.rules, app=lineage.app, volume_name=lineage.volume_name, machine=lineage.machine_name)
        if rule is None:
            raise TargetNotFoundError(
                f"no target of the configuration matches {lineage.label}",
                hint="Add a [[targets]] entry for it.",
            )
        with structlog.contextvars.bound_contextvars(app=lineage.app, volume=lineage.volume_name):
            progress = _Progress(journal, self.clock, watcher)
            work = TargetWork(run, lineage, rule, journal, on_progress=progress)
            try:
                return await self.jobs.for_target[run.kind].run(work)
            finally:
                await progress.close()

    async def _lineage(self, run: Run) -> Lineage:
        async with self.catalog.transaction() as tx:
            for lineage in await tx.lineages(include_retired=True):
                if lineage.id == run.lineage_id:
                    return lineage
        raise TargetNotFoundError("the run's target is not in the catalog any more", facts={"run": run.id})

    async def _record(self, run: Run, outcome: Outcome) -> None:
        """Write the outcome down; a cancellation meanwhile is raised after that. Reconcile is the second line."""
        record = asyncio.ensure_future(self._finish(run, outcome))
        try:
            await asyncio.shield(record)
        except asyncio.CancelledError:
            await asyncio.wait({record})
            raise

    async def _record_interruption(self, run: Run, outcome: Outcome) -> None:
        try:
            await self._record(run, outcome)
        except FlykeepError as error:
            log.error("run.interruption_not_recorded", error=str(error))  # noqa: TRY400 - the reason is enough

    async def _finish(self, run: Run, outcome: Outcome) -> None:
        try:
            async with asyncio.timeout(_RECORD_LIMIT.total_seconds()), self.catalog.transaction() as tx:
                await tx.finish(run.id, outcome=outcome, now=self.clock.now())
        except TimeoutError as error:
            raise StateError(f"the outcome of run {run.id} could not be recorded in time") from error

    @staticmethod
    def _log(run: Run, outcome: Outcome, took_s: float) -> None:
        failure = outcome.failure
        is_bad = outcome.state in {RunState.FAILED, RunState.INTERRUPTED}
        (log.error if is_bad else log.info)(
            "run.ended",
            state=outcome.state.value,
            slot=run.slot.key,
            took_s=round(took_s, 3),
            code=failure.code if failure else None,
            error=failure.message if failure else None,
            hint=failure.hint if failure else None,
            **dict(failure.facts if failure else ()),
        )


class _Progress:
    """Shows progress to the watcher at once and journals it now and then, for those who follow from elsewhere."""

    def __init__(self, journal: Journal, clock: Clock, watcher: Watcher) -> None:
        self._journal, self._clock, self._watcher = journal, clock, watcher
        self._journalled = clock.monotonic()
        self._pending: asyncio.Task[None] | None = None

    def __call__(self, progress: Progress) -> None:
        if self._watcher.on_progress:
            self._watcher.on_progress(progress)
        due = self._clock.monotonic() - self._journalled >= _PROGRESS_EVERY.total_seconds()
        if due and (self._pending is None or self._pending.done()):
            self._journalled = self._clock.monotonic()
            self._pending = asyncio.ensure_future(self._keep(progress))

    async def close(self) -> None:
        """Let the step that is being written be written."""
        if self._pending is not None:
            await asyncio.wait({self._pending})

    async def _keep(self, progress: Progress) -> None:
        try:
            await self._journal.step(
                f"progress: {progress.phase}", tar_bytes=progress.tar_bytes, stored_bytes=progress.stored_bytes
            )
        except FlykeepError as error:  # a run must not fail for what is only shown; its end is recorded or raises
            log.warning("run.progress_not_journalled", run=self._journal.run.id, error=str(error))


def failure_of(error: FlykeepError) -> Failure:
    """What the catalog keeps of an error."""
    return Failure(
        code=error.code,
        message=error.message,
        hint=error.next_step,
        exit_code=error.exit_code,
        facts=tuple(error.facts.items()),
    )


def interrupted_outcome(why: str) -> Outcome:
    return Outcome(
        RunState.INTERRUPTED,
        failure=Failure(
            code="run.interrupted",
            message=why,
            hint="A scheduled slot is tried again by itself; start a manual run again.",
            exit_code=8,
        ),
    )

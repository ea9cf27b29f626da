"""Executing one run: whatever happens in it, how it ended is on record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from flykeep.domain.errors import FlykeepError, RefusalError, StateError, StoreError
from flykeep.domain.ids import LineageId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, RunState
from flykeep.domain.target import ORG_LINEAGE
from flykeep.jobs.context import OrgWork, TargetWork
from flykeep.jobs.runner import Jobs, Runner, Watcher
from flykeep.ports.worker import Progress
from tests.integration.jobs.parts import Parts

DONE = Outcome(RunState.SUCCEEDED, '{"a":1}')


@dataclass
class Deed:
    """A job that does what the test says."""

    do: Callable[[Any], Awaitable[Outcome]]
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, work: TargetWork | OrgWork) -> Outcome:
        self.began.set()
        return await self.do(work)


def runner_of(parts: Parts, do: Callable[[Any], Awaitable[Outcome]]) -> tuple[Runner, Deed]:
    deed = Deed(do)
    jobs = Jobs(for_target={JobKind.EXPORT: deed}, for_org={JobKind.CHECK: deed})
    return replace(parts.runner, jobs=jobs), deed


async def raising(error: Exception) -> Outcome:
    raise error


async def test_an_outcome_is_recorded_with_one_line_in_the_log(parts: Parts) -> None:
    async def do(work: TargetWork) -> Outcome:
        assert (work.lineage.id, work.rule) == (parts.lineage.id, parts.rule)
        await work.journal.step("first", n=1, nothing=None)
        await work.journal.step("second")
        return DONE

    runner, _ = runner_of(parts, do)
    run = await parts.claimed()
    seen: list[str] = []
    with capture_logs() as logs:
        await runner.execute(run, watcher=Watcher(on_step=lambda step: seen.append(step.name)))
    ended = await parts.again(run)
    assert (ended.state, ended.outcome) == (RunState.SUCCEEDED, DONE)
    assert [(step.number, step.name, step.detail) for step in await parts.steps(run)] == [
        (1, "first", '{"n": 1}'),
        (2, "second", ""),
    ]
    assert seen == ["first", "second"]
    assert [(line["event"], line["log_level"]) for line in logs] == [("run.ended", "info")]


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (StoreError("full", facts={"store": "offsite"}), RunState.FAILED, StoreError.code),
        (RefusalError("no", hint="Do not."), RunState.REFUSED, RefusalError.code),
        (ZeroDivisionError("a defect"), RunState.FAILED, "internal.error"),
    ],
)
async def test_an_error_becomes_the_outcome(parts: Parts, error: Exception, state: RunState, code: str) -> None:
    runner, _ = runner_of(parts, lambda _: raising(error))
    run = await parts.claimed()
    await runner.execute(run)
    ended = await parts.again(run)
    assert ended.state is state
    assert ended.outcome is not None
    assert ended.outcome.failure is not None
    assert ended.outcome.failure.code == code if isinstance(error, FlykeepError) else "ZeroDivisionError" in str(ended)


async def test_a_run_of_the_organization_has_no_target(parts: Parts) -> None:
    async def do(work: OrgWork) -> Outcome:
        assert not hasattr(work, "lineage")
        return DONE

    runner, _ = runner_of(parts, do)
    run = await parts.claimed(kind=JobKind.CHECK, lineage_id=ORG_LINEAGE)
    assert await runner.execute(run) == DONE


async def test_a_run_whose_target_is_gone_fails_with_a_next_step(parts: Parts) -> None:
    runner, deed = runner_of(parts, lambda _: raising(AssertionError()))
    unknown = await runner.execute(await parts.claimed(lineage_id=LineageId("unknown")))
    unwanted = await replace(runner, rules=()).execute(await parts.claimed())
    for outcome in (unknown, unwanted):
        assert outcome.failure is not None
        assert outcome.failure.code == "usage.unknown_target"
        assert outcome.failure.hint
    assert not deed.began.is_set()


async def test_a_cancelled_run_is_recorded_as_interrupted(parts: Parts) -> None:
    async def do(_: TargetWork) -> Outcome:
        await asyncio.Event().wait()
        return DONE

    runner, deed = runner_of(parts, do)
    run = await parts.claimed()
    task = asyncio.create_task(runner.execute(run))
    await deed.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await parts.again(run)).state is RunState.INTERRUPTED


async def test_a_cancellation_while_the_outcome_is_recorded_does_not_lose_it(parts: Parts) -> None:
    runner, _ = runner_of(parts, lambda _: asyncio.sleep(0, DONE))
    run = await parts.claimed()
    async with parts.catalog.transaction():  # recording has to wait for this one
        task = asyncio.create_task(runner.execute(replace(run, lineage_id=ORG_LINEAGE, kind=JobKind.CHECK)))
        for _ in range(20):
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0.001)
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await parts.again(run)).outcome == DONE


async def test_an_interruption_that_cannot_be_recorded_is_logged_and_passed_on(parts: Parts) -> None:
    async def do(_: TargetWork) -> Outcome:
        await asyncio.Event().wait()
        return DONE

    runner, deed = runner_of(parts, do)
    run = await parts.claimed()
    task = asyncio.create_task(runner.execute(run))
    await deed.began.wait()
    with capture_logs() as logs, pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(runner), "_finish", lambda *_: raising(StateError("the disk is full")))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert "run.interruption_not_recorded" in [line["event"] for line in logs]


async def test_an_outcome_that_cannot_be_recorded_in_time_is_an_error(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flykeep.jobs.runner._RECORD_LIMIT", timedelta(milliseconds=20))
    runner, _ = runner_of(parts, lambda _: asyncio.sleep(0, DONE))
    run = await parts.claimed(kind=JobKind.CHECK, lineage_id=ORG_LINEAGE)
    async with parts.catalog.transaction():
        with pytest.raises(StateError, match="could not be recorded in time"):
            await runner.execute(run)


async def test_progress_is_shown_at_once_and_journalled_now_and_then(parts: Parts) -> None:
    async def do(work: TargetWork) -> Outcome:
        for seconds in (1, 11, 0, 11):
            await parts.clock.sleep(timedelta(seconds=seconds))
            work.on_progress(Progress("reading", seconds, 0, 0))
        return DONE

    runner, _ = runner_of(parts, do)
    run = await parts.claimed()
    shown: list[Progress] = []
    await runner.execute(run, watcher=Watcher(on_progress=shown.append))
    assert len(shown) == 4
    assert "progress: reading" in [step.name for step in await parts.steps(run)]


async def test_progress_that_cannot_be_journalled_fails_nothing(parts: Parts) -> None:
    async def do(work: TargetWork) -> Outcome:
        await parts.clock.sleep(timedelta(seconds=11))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(work.journal), "step", lambda *_, **__: raising(StateError("the disk is full")))
            work.on_progress(Progress("reading", 1, 0, 0))
            await asyncio.sleep(0.001)
        return DONE

    runner, _ = runner_of(parts, do)
    run = await parts.claimed()
    with capture_logs() as logs:
        assert await runner.execute(run) == DONE
    assert "run.progress_not_journalled" in [line["event"] for line in logs]

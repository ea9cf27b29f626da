"""The daemon's hands: bounded, one run a lineage, and nothing escapes the drain."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flykeep.adapters.system import SystemClock
from flykeep.daemon.executor import Executor
from flykeep.domain.ids import LineageId
from flykeep.domain.run import RunState
from tests.integration.jobs.parts import OWNER, Parts
from tests.unit.domain.builders import lineage

SOON = timedelta(milliseconds=20)


class BriskClock(SystemClock):
    async def sleep(self, duration: timedelta) -> None:
        await super().sleep(duration / 100)


@pytest.fixture
def executor(parts: Parts) -> Executor:
    parts.workers.hold = asyncio.Event()
    return Executor(parts.catalog, BriskClock(), parts.runner, OWNER, max_parallel=1)


async def test_no_more_runs_at_a_time_than_allowed(parts: Parts, executor: Executor) -> None:
    async with parts.catalog.transaction() as tx:
        await tx.save_lineage(replace(lineage("lin_2"), machine_id=None))
    first, second = await parts.pending(), await parts.pending(lineage_id=LineageId("lin_2"))
    work = asyncio.create_task(executor.run())
    await parts.workers.began.wait()
    await asyncio.sleep(0.03)
    assert executor.running_count == 1
    assert (await parts.again(second)).state is RunState.PENDING
    assert parts.workers.hold is not None
    parts.workers.hold.set()
    async with asyncio.timeout(60):
        while not (await parts.again(second)).state.is_final:  # noqa: ASYNC110 - the catalog tells nobody
            await asyncio.sleep(0.005)
    await executor.drain(within=timedelta(minutes=1))
    await work
    assert (await parts.again(first)).state is RunState.SUCCEEDED


async def test_a_drain_interrupts_what_does_not_end_in_time(parts: Parts, executor: Executor) -> None:
    run = await parts.pending()
    work = asyncio.create_task(executor.run())
    await parts.workers.began.wait()
    await executor.drain(within=SOON)
    await work
    assert (await parts.again(run)).state is RunState.INTERRUPTED
    assert await parts.keys_in("offsite") == []


async def test_a_run_that_is_being_claimed_when_the_drain_begins_is_drained_too(
    parts: Parts, executor: Executor
) -> None:
    run = await parts.pending()
    async with parts.catalog.transaction():  # the claim has to wait for this one
        work = asyncio.create_task(executor.run())
        await asyncio.sleep(0.01)
        assert executor.running_count == 0
        drain = asyncio.create_task(executor.drain(within=timedelta(0)))
        await asyncio.sleep(0.01)
    async with asyncio.timeout(60):
        await asyncio.gather(drain, work)
    assert (await parts.again(run)).state is RunState.INTERRUPTED


async def test_nothing_is_claimed_after_an_interruption(parts: Parts, executor: Executor) -> None:
    work = asyncio.create_task(executor.run())
    await asyncio.sleep(0.01)
    await executor.interrupt()
    run = await parts.pending()
    await work
    assert (await parts.again(run)).state is RunState.PENDING


async def test_a_run_lost_to_somebody_else_is_not_executed(
    parts: Parts, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await parts.pending()

    async def never(*_: Any, **__: Any) -> bool:
        return False

    monkeypatch.setattr("flykeep.adapters.db.runs.SqlRunLedger.claim", never)
    work = asyncio.create_task(executor.run())
    await asyncio.sleep(0.02)
    await executor.drain(within=SOON)
    await work
    assert (await parts.again(run)).state is RunState.PENDING
    assert parts.workers.orders == []

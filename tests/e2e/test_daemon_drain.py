"""SIGTERM and SIGINT: what runs may end within the drain time, what can't is interrupted and recorded."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest

from flykeep.domain.run import RunState
from flykeep.testing.flysim.faults import Fault, FaultKind
from tests.e2e.nursery import Household, Life, until

HELD_S = 1.5


def hold_exports(home: Household, *, seconds: float) -> None:
    """Let the next export stand still before its certificate is there."""
    home.sim.faults.add(Fault(kind=FaultKind.HANG, action="graphql.issueCertificate", duration_s=seconds))


async def in_an_export(home: Household) -> Life:
    """A daemon whose export stands still."""
    life = await home.live()
    await until(lambda: home.sim.faults.struck(FaultKind.HANG))
    return life


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_running_export_may_end_within_the_drain_time(home: Household, number: signal.Signals) -> None:
    hold_exports(home, seconds=HELD_S)
    life = await in_an_export(home)
    assert await home.stop(life, number) == 0
    left = await home.left()
    exports = [run for run in left.runs if run.kind == "export"]
    assert [run.state for run in exports] == [RunState.SUCCEEDED]
    assert len(left.artifacts) == 1
    assert life.logged("daemon.draining")[0]["running"] >= 1
    assert not left.of_state(RunState.RUNNING)


async def test_an_export_that_does_not_end_in_time_is_interrupted_and_recorded(home: Household) -> None:
    home.kit.edit('jitter = "0s"', 'jitter = "0s"\ndrain_timeout = "1s"')
    hold_exports(home, seconds=600)
    life = await in_an_export(home)
    assert await home.stop(life) == 0
    await assert_interrupted_and_clean(home)


async def test_a_second_signal_cuts_the_drain_short(home: Household) -> None:
    home.kit.edit('jitter = "0s"', 'jitter = "0s"\ndrain_timeout = "2h"')
    hold_exports(home, seconds=600)
    life = await in_an_export(home)
    os.kill(life.pid, signal.SIGINT)
    await until(lambda: life.logged("daemon.draining"))
    assert await home.stop(life, signal.SIGTERM) == 0
    assert life.logged("daemon.interrupting")
    await assert_interrupted_and_clean(home)


async def assert_interrupted_and_clean(home: Household) -> None:
    left = await home.left()
    exports = [run for run in left.runs if run.kind == "export"]
    assert [run.state for run in exports] == [RunState.INTERRUPTED]
    assert exports[0].outcome is not None
    assert exports[0].outcome.failure is not None
    assert exports[0].outcome.failure.code == "run.interrupted"
    assert not left.artifacts
    assert not [key for key in home.stored() if key.startswith("shop/")]
    assert not left.of_state(RunState.RUNNING)


async def test_what_a_stopped_daemon_interrupted_is_done_by_the_next_one(home: Household) -> None:
    home.kit.edit('jitter = "0s"', 'jitter = "0s"\ndrain_timeout = "1s"')
    hold_exports(home, seconds=600)
    await home.stop(await in_an_export(home))
    home.sim.faults.clear()
    await home.live_until_rest()
    exports = [run for run in (await home.left()).runs if run.kind == "export"]
    assert [(run.slot.attempt, run.state) for run in exports] == [
        (2, RunState.SUCCEEDED),
        (1, RunState.INTERRUPTED),
    ]
    assert exports[0].started_at - exports[1].ended_at < timedelta(minutes=1)  # type: ignore[operator]

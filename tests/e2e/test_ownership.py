"""Verbs beside a daemon, beside each other, and alone: who executes, who follows, and that nothing overlaps."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from itertools import pairwise

from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunState
from flykeep.testing.flysim.faults import Fault, FaultKind
from tests.e2e.nursery import Household, Life, Nursery, until
from tests.full import full

TARGET = "shop/shop_data"
SUCCESS = {RunState.SUCCEEDED, RunState.DEGRADED}
Verbs = tuple[Nursery, Nursery]


def hold_exports(home: Household) -> None:
    """Let the next export stand still until the faults are cleared and its process is gone."""
    home.sim.faults.add(Fault(kind=FaultKind.HANG, action="graphql.issueCertificate", duration_s=600))


async def daemon_of(home: Household) -> Life:
    life = await home.live()
    await until(lambda: life.logged("daemon.started"))
    return life


async def of_target(home: Household) -> list[Run]:
    """The target's runs, the oldest first."""
    runs = (await home.left()).runs
    return [run for run in reversed(runs) if run.kind in {JobKind.SNAPSHOT, JobKind.EXPORT}]


def assert_apart(runs: Sequence[Run]) -> None:
    ran = sorted((run.started_at, run.ended_at) for run in runs if run.started_at and run.ended_at)
    assert len(ran) == len(runs)
    for (_, earlier_end), (later_start, _) in pairwise(ran):
        assert earlier_end <= later_start


async def test_two_verbs_and_a_daemon_started_at_once_never_overlap(home: Household, nurseries: Verbs) -> None:
    life, *verbs = await asyncio.gather(
        home.live(),
        home.begin(nurseries[0], "export", TARGET, "--local"),
        home.begin(nurseries[1], "snapshot", TARGET),
    )
    ended = await asyncio.gather(*(verb.ended() for verb in verbs))
    assert [one.code for one in ended] == [0, 0], ended
    await until(lambda: len([one for one in life.logged("run.ended") if one["kind"] in {"snapshot", "export"}]) >= 2)
    assert await home.stop(life) == 0
    runs = await of_target(home)
    assert len(runs) == 4
    assert {run.state for run in runs} <= SUCCESS
    assert_apart(runs)
    asked = [request for request in home.sim.requests if request.action in {"snapshot.create", "machine.exec"}]
    for request in asked:
        assert any(run.started_at <= request.at <= run.ended_at for run in runs)  # type: ignore[operator]


@full("as a volume that a living daemon cleans")
async def test_a_living_daemon_executes_what_a_verb_asks_for(quiet: Household, nurseries: Verbs) -> None:
    life = await daemon_of(quiet)
    for words in (("snapshot", TARGET), ("export", TARGET)):
        followed = await (await quiet.begin(nurseries[0], *words)).ended()
        assert followed.code == 0, followed
        assert "hook" in followed.stdout  # the daemon's steps are shown
    runs = await of_target(quiet)
    assert [run.kind for run in runs] == [JobKind.SNAPSHOT, JobKind.EXPORT]
    assert all(str(run.owner_id).startswith("daemon-") for run in runs)
    assert await quiet.stop(life) == 0


@full("two cold processes")
async def test_ctrl_c_detaches_from_a_run_the_daemon_executes(quiet: Household, nurseries: Verbs) -> None:
    quiet.sim.faults.add(Fault(kind=FaultKind.HANG, action="graphql.issueCertificate", duration_s=1.0))
    life = await daemon_of(quiet)
    verb = await quiet.begin(nurseries[0], "export", TARGET)
    await until(lambda: quiet.sim.faults.struck(FaultKind.HANG))
    verb.interrupt()
    ended = await verb.ended()
    assert ended.code == 8
    assert "detached" in ended.stdout + ended.stderr
    await until(lambda: [one for one in life.logged("run.ended") if one["kind"] == "export"])
    assert [run.state for run in await of_target(quiet)] == [RunState.SUCCEEDED]
    assert await quiet.stop(life) == 0


async def test_without_a_daemon_a_verb_executes_itself(quiet: Household) -> None:
    assert (await quiet.verb("snapshot", TARGET)).code == 0
    assert (await quiet.verb("export", TARGET)).code == 0
    runs = await of_target(quiet)
    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    assert all(str(run.owner_id).startswith("verb-") for run in runs)


@full("two cold processes")
async def test_a_local_verb_executes_here_although_a_daemon_lives(quiet: Household, nurseries: Verbs) -> None:
    life = await daemon_of(quiet)
    for _ in range(2):
        assert (await (await quiet.begin(nurseries[0], "export", TARGET, "--local")).ended()).code == 0
    assert all(str(run.owner_id).startswith("verb-") for run in await of_target(quiet))
    assert await quiet.stop(life) == 0


@full("two cold processes")
async def test_a_verb_takes_over_its_pending_run_when_the_daemon_is_killed(quiet: Household, nurseries: Verbs) -> None:
    hold_exports(quiet)
    life = await daemon_of(quiet)
    stuck = await quiet.begin(nurseries[0], "export", TARGET)
    await until(lambda: quiet.sim.faults.struck(FaultKind.HANG))
    waiting = await quiet.begin(nurseries[1], "snapshot", TARGET)
    async with asyncio.timeout(60):
        while len(await of_target(quiet)) < 2:  # noqa: ASYNC110 - it is told by another process
            await asyncio.sleep(0.03)
    os.kill(life.pid, signal.SIGKILL)
    await quiet.nursery.end()
    lost, taken_over = await stuck.ended(), await waiting.ended()
    assert lost.code == 8
    assert "died" in lost.stdout + lost.stderr
    assert taken_over.code == 0, taken_over
    export, snapshot = await of_target(quiet)
    assert (export.state, snapshot.state) == (RunState.INTERRUPTED, RunState.SUCCEEDED)
    assert str(snapshot.owner_id).startswith("verb-")


@full("two cold processes")
async def test_ctrl_c_on_a_verb_that_waits_for_its_turn_takes_its_run_back(quiet: Household, nurseries: Verbs) -> None:
    hold_exports(quiet)
    busy = await quiet.begin(nurseries[0], "export", TARGET)
    await until(lambda: quiet.sim.faults.struck(FaultKind.HANG))
    waiting = await quiet.begin(nurseries[1], "snapshot", TARGET)
    async with asyncio.timeout(60):
        while len(await of_target(quiet)) < 2:  # noqa: ASYNC110 - it is told by another process
            await asyncio.sleep(0.03)
    waiting.interrupt()
    assert (await waiting.ended()).code == 8
    assert "detached" not in waiting.said()
    busy.interrupt()
    assert (await busy.ended()).code == 8
    assert [run.state for run in await of_target(quiet)] == [RunState.INTERRUPTED, RunState.CANCELLED]
    assert not [key for key in quiet.stored() if key.startswith("shop/")]


async def test_a_second_daemon_is_refused(quiet: Household, nurseries: Verbs) -> None:
    life = await daemon_of(quiet)
    second = await (await quiet.begin(nurseries[0], "run")).ended()
    assert second.code == 4
    assert "another flykeep daemon is alive" in second.stderr
    assert await quiet.stop(life) == 0


async def test_a_second_daemon_with_the_same_port_is_told_of_the_first_not_of_the_port(
    quiet: Household, nurseries: Verbs
) -> None:
    life = await daemon_of(quiet)
    port = life.logged("daemon.started")[0]["bind"].split(", ")[1].rstrip(")")
    quiet.kit.edit('bind = "127.0.0.1:0"', f'bind = "127.0.0.1:{port}"')
    assert (await (await quiet.begin(nurseries[0], "run")).ended()).code == 4
    assert await quiet.stop(life) == 0

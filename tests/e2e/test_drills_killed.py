"""Whatever dies or goes away at any step of a drill, reconcile leaves nothing of it, and nothing foreign goes."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flykeep.domain.policy import JobKind
from flykeep.domain.proof import parse
from flykeep.domain.run import RunState
from tests.e2e.killing_daemon import Death
from tests.e2e.nursery import Household, Nursery
from tests.full import full, stride
from tests.integration.scratch.home import SPEED, TARGET, Home, ended_well, home
from tests.integration.scratch.look_alikes import LookAlikes
from tests.integration.scratch.test_breaking import BREAKINGS, home_with_a_bucket
from tests.object_stores import S3Server

_PARTS = 10
_MOST_STEPS = 60
_NEVER = Death("any", "*", count=0)
_IDENTITY = ("[encryption]\n", '[encryption]\nidentity_secret = "AGE_IDENTITY"\n')
_HERE = ("[worker]\nimage = ", "[worker]\n# image = ")
pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def home_with_an_artifact(directory: Path, *, source: str, is_here: bool = False) -> AsyncIterator[Home]:
    """A target that was exported once; its drills may open it."""
    async with home(directory) as fly:
        ended_well(await fly.export(source="ssh"))
        fly.kind, fly.source = JobKind.DRILL, source
        allow(fly, is_here=is_here)
        yield fly


def allow(fly: Home, *, is_here: bool) -> None:
    """For the processes that are born from now on."""
    identity = (fly.sim.directory / "age-identity.txt").read_text().split("AGE-SECRET-KEY-")[1].split()[0]
    fly.kit.extra["AGE_IDENTITY"] = f"AGE-SECRET-KEY-{identity}"
    fly.kit.edit(*_IDENTITY)
    if is_here:
        fly.kit.edit(*_HERE)


@asynccontextmanager
async def household(fly: Home, nursery: Nursery) -> AsyncIterator[Household]:
    yield Household(fly.kit, nursery, speed=SPEED)
    await nursery.clear()


async def drill(house: Household, source: str, death: Death) -> tuple[int, str]:
    words = ("drill", TARGET, "--from", source, "--local")
    ended = await (await house.begin(house.nursery, *words, death=death)).ended()
    return ended.code, ended.stderr


def assert_no_room(fly: Home, planted: Path) -> None:
    """No directory with contents in the clear, but for the one that is not flykeep's."""
    assert sorted(planted.parent.iterdir()) == [planted]


def plant_room(fly: Home) -> Path:
    room = fly.sim.directory / "drills" / "flykeep-drill-01LOOKALIKE"
    room.mkdir(parents=True)
    return room


async def kill_at(fly: Home, house: Household, source: str, counts: Iterable[int]) -> int:
    """Kill a drill at each of these moments; gives at how many it died."""
    planted, room = LookAlikes.plant(fly), plant_room(fly)
    died = 0
    for count in counts:
        code, log = await drill(house, source, Death("any", "*", count=count))
        if code == 0:
            break  # it had fewer looks at its worker to take than the one that was counted
        assert code == -signal.SIGKILL, (count, log[-2000:])
        died += 1
        try:
            await planted.assert_alone()
            assert_no_room(fly, room)
        except AssertionError as error:
            raise AssertionError(f"died at moment {count}") from error
    return died


async def moments(house: Household, source: str) -> int:
    code, log = await drill(house, source, _NEVER)
    assert code == 0, log
    found = re.search(r"moments: (\d+)", log)
    assert found is not None
    return int(found.group(1))


@pytest.mark.parametrize(
    ("source", "is_here", "death"),
    [
        ("snapshot", False, Death("during", "machine_workers.drill")),
        ("artifact", True, Death("during", "workers.drill")),
    ],
    ids=["on a machine", "here"],
)
async def test_what_a_killed_drill_left_is_removed_and_nothing_else(
    tmp_path: Path, nursery: Nursery, source: str, death: Death, *, is_here: bool
) -> None:
    async with home_with_an_artifact(tmp_path, source=source, is_here=is_here) as fly, household(fly, nursery) as house:
        planted, room = LookAlikes.plant(fly), plant_room(fly)
        code, log = await drill(house, source, death)
        assert code == -signal.SIGKILL, log[-2000:]
        await planted.assert_alone()
        assert_no_room(fly, room)
        assert proofs(fly) == []


def proofs(fly: Home) -> list[str]:
    """The outcomes of the stored proofs, each a whole document."""
    kept = (fly.sim.directory / "store" / "_proofs").rglob("*.json")
    return [parse(path.read_bytes()).proof.outcome.value for path in kept]


@full("a drill is killed at every moment it has")
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize(
    ("source", "is_here"), [("snapshot", False), ("artifact", False), ("artifact", True)], ids=["snap", "art", "here"]
)
async def test_whenever_a_drill_is_killed(
    tmp_path: Path, nursery: Nursery, source: str, part: int, *, is_here: bool
) -> None:
    async with home_with_an_artifact(tmp_path, source=source, is_here=is_here) as fly, household(fly, nursery) as house:
        count = await moments(house, source)
        assert count > 15
        assert await kill_at(fly, house, source, range(1 + part, count + 1, _PARTS * stride(3, 1))) > 0
        runs = (await house.left()).runs
        assert {run.state for run in runs} <= {RunState.SUCCEEDED, RunState.INTERRUPTED}
        assert set(proofs(fly)) == {"passed"}


@full("every step of a drill is broken")
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("lost", BREAKINGS)
async def test_what_is_lost_at_any_step_of_a_drill_leaves_nothing(tmp_path: Path, lost: str, part: int) -> None:
    breaking, _ = BREAKINGS[lost]
    async with home_with_an_artifact(tmp_path, source="snapshot") as fly:
        planted = LookAlikes.plant(fly)
        for step in range(part, _MOST_STEPS, 4 * stride(3, 1)):
            is_met = await breaking(fly, step)
            try:
                await planted.assert_alone()
            except AssertionError as error:
                raise AssertionError(f"lost after {step} requests") from error
            if not is_met:
                break
        assert not is_met, "the drill has more steps than were broken"
        assert "failed" not in proofs(fly), "what could not be carried out is no proof"


@full("every request of a drill to a store is broken")
@pytest.mark.parametrize("part", range(3))
async def test_a_store_that_goes_away_at_any_request_of_a_drill_leaves_nothing(
    tmp_path: Path, moto_server: S3Server, part: int
) -> None:
    async with home_with_a_bucket(tmp_path, moto_server) as (fly, line, _):
        ended_well(await fly.export(source="ssh"))
        planted = LookAlikes.plant(fly)
        for requests in range(part, _MOST_STEPS, 3 * stride(3, 1)):
            line.cut_after(requests)
            run = await fly.run(JobKind.DRILL, source="snapshot")
            is_met = line.is_cut
            line.mend()
            assert is_met or run.state is RunState.SUCCEEDED, run.outcome
            await fly.application.reconcile.reconcile(is_applied=True)
            planted.assert_alone_at_fly()
            if not is_met:
                break
        assert not is_met, "the drill has more requests than were broken"

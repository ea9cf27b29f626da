"""A process that exports from a snapshot is killed with -9 at any moment: reconcile leaves nothing of it."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from flykeep.domain.run import RunState
from tests.e2e.killing_daemon import Death
from tests.e2e.nursery import Household, Nursery
from tests.full import full, stride
from tests.integration.scratch.home import SPEED, TARGET, Home, home
from tests.integration.scratch.look_alikes import LookAlikes

_PARTS = 10
_NEVER = Death("any", "*", count=0)
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Home]:
    async with home(tmp_path) as running:
        yield running


@pytest.fixture
async def house(fly: Home, nursery: Nursery) -> AsyncIterator[Household]:
    """Where the process that dies is born."""
    yield Household(fly.kit, nursery, speed=SPEED)
    await nursery.clear()


async def export(house: Household, death: Death) -> tuple[int, str]:
    words = ("export", TARGET, "--source", "snapshot", "--local")
    ended = await (await house.begin(house.nursery, *words, death=death)).ended()
    return ended.code, ended.stderr


async def kill_at(fly: Home, house: Household, counts: Iterable[int]) -> int:
    """Kill an export at each of these moments; gives how many had made something by then."""
    planted = LookAlikes.plant(fly)
    died_with_something = 0
    for count in counts:
        code, log = await export(house, Death("any", "*", count=count))
        if code == 0:
            break  # it had fewer looks at its worker to take than the one that was counted
        assert code == -signal.SIGKILL, (count, log[-2000:])
        died_with_something += fly.left() != planted.names
        try:
            await planted.assert_alone()
        except AssertionError as error:
            raise AssertionError(f"died at moment {count}") from error
    return died_with_something


async def moments(house: Household) -> int:
    """How many moments an undisturbed export has; the first export of a store has a few more."""
    for _ in range(2):
        code, log = await export(house, _NEVER)
        assert code == 0, log
    found = re.search(r"moments: (\d+)", log)
    assert found is not None
    return int(found.group(1))


@pytest.mark.parametrize(
    "death",
    [
        Death("after", "scratch.create_machine"),
        Death("during", "machine_workers.export"),
        Death("after", "scratch.destroy_machine"),
    ],
    ids=lambda death: f"{death.when} {death.call}",
)
async def test_what_a_killed_process_left_is_removed_and_nothing_else(
    fly: Home, house: Household, death: Death
) -> None:
    planted = LookAlikes.plant(fly)
    code, log = await export(house, death)
    assert code == -signal.SIGKILL, log[-2000:]
    await planted.assert_alone()


@full("an export is killed at every moment it has")
@pytest.mark.parametrize("part", range(_PARTS))
async def test_whenever_it_is_killed(fly: Home, house: Household, part: int) -> None:
    count = await moments(house)
    assert count > 40
    assert await kill_at(fly, house, range(1 + part, count + 1, _PARTS * stride(3, 1))) > 0
    runs = (await house.left()).runs
    assert {run.state for run in runs} <= {RunState.SUCCEEDED, RunState.INTERRUPTED}

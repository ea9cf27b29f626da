"""A restore whose process is killed for real, over the wire: what comes next brings the app to rest."""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flykeep.cli.opening import compare_trees
from flykeep.domain.policy import JobKind
from tests.e2e.killing_daemon import Death
from tests.e2e.nursery import Household, Nursery
from tests.e2e.test_restore import CROCBOT, TARGET, machines_of, spoil, volumes_of
from tests.flykit import flykeep
from tests.full import full
from tests.integration.scratch.home import SPEED

BEFORE_THE_SWITCH = ("make_volume", "make_machine")
IN_THE_SWITCH = ("stop_machine", "update_machine", "start_machine")


@pytest.fixture
async def house(tmp_path: Path, nursery: Nursery) -> AsyncIterator[Household]:
    async with flykeep(tmp_path, scenario=CROCBOT) as kit:
        yield Household(kit, nursery, speed=SPEED)
        await nursery.clear()


async def killed(house: Household, directory: Path, call: str) -> None:
    """Killed right after that change, gone on with, and looked at."""
    ((old_id, old),), (spoiled,) = machines_of(house).items(), volumes_of(house).values()
    good = directory / "good"
    shutil.copytree(spoiled.directory, good, symlinks=True)
    spoil(spoiled)
    words = ("restore", TARGET, "--snapshot", "latest", "--yes", "--local")
    ended = await (await house.begin(house.nursery, *words, death=Death("after", f"production.{call}"))).ended()
    assert ended.code == -signal.SIGKILL, ended.stderr[-2000:]
    running = [one.id for one in machines_of(house).values() if one.state == "started"]
    assert len(running) <= 1
    for machine in machines_of(house).values():
        house.sim.world.release_lease(machine)  # Fly ends a dead process's lease by itself, minutes later

    swept = await house.verb("reconcile", "--apply", "--json")
    assert swept.code == 0, swept.stderr[-2000:]
    if call in BEFORE_THE_SWITCH:
        assert [one.id for one in machines_of(house).values() if one.state == "started"] == [old_id]
        (run,) = [one for one in (await house.left()).runs if one.kind is JobKind.RESTORE]
        resumed = await house.verb("restore", "resume", run.id, "--yes", "--json")
        assert resumed.code == 0, resumed.stderr[-2000:]

    (new,) = [one for one in machines_of(house).values() if one.state == "started"]
    assert new.id != old_id
    compare_trees(good, house.sim.world.volumes[new.volume_id or ""].directory)
    assert (old.state, spoiled.attached_machine_id) == ("stopped", old_id)
    assert (len(machines_of(house)), len(volumes_of(house))) == (2, 2)


async def test_a_restore_killed_while_the_app_is_down_is_gone_on_with_by_reconcile(
    house: Household, tmp_path: Path
) -> None:
    await killed(house, tmp_path, "stop_machine")


@full("a death after each change that a restore makes")
@pytest.mark.parametrize("call", [*BEFORE_THE_SWITCH, *IN_THE_SWITCH])
async def test_a_restore_may_be_killed_after_any_change(house: Household, tmp_path: Path, call: str) -> None:
    await killed(house, tmp_path, call)

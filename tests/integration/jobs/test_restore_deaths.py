"""A process that restores dies at one of its awaits; whoever goes on brings the target to one of its two volumes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flykeep.domain.errors import FlykeepError, FlyUnavailableError
from flykeep.testing.memory_platform import MemoryFault
from tests.full import full, stride
from tests.integration.jobs.restore_world import RestoreParts, restore_world
from tests.integration.jobs.scratch_world import DiedError, Reaper

MOMENTS = 200  # a restore has some fewer


@dataclass
class Before:
    """The target as it was."""

    config: dict[str, Any]
    volumes: set[str]


async def prepared(world: RestoreParts, ending: str | None) -> Before:
    before = Before(copy.deepcopy(world.server.config), world.volume_ids)
    if ending is not None:
        await world.begin()
    if ending == "finalize":
        world.fly.watchers.clear()  # between the two removals nothing holds the volume any more
    return before


async def act(world: RestoreParts, ending: str | None) -> bool:
    """Whether it came to its end."""
    try:
        await (world.begin() if ending is None else world.end(ending, await world.last()))
    except (DiedError, FlykeepError):
        return False
    return True


async def gone_on(world: RestoreParts, way: str) -> None:
    """By a person's `resume` or `undo`, or by reconcile; what reconcile only tells of, a person undoes."""
    run = await world.last()
    steps = await world.parts.steps(run)
    if not any(step.name == "restore: begun" for step in steps):
        return
    if way == "reconcile":
        await world.sweeping.sweep([run.id], (), is_applied=True)
        await world.sweep.sweep((), is_applied=True)
        way = "undo" if (await world.record(run)).phase.is_before_switch else "resume"
    record = await world.record(run)
    if record.is_half_done or (way == "undo" and not record.is_over):
        await world.end(way, run)


def settled(world: RestoreParts, before: Before) -> bool:
    """The app runs on one of its volumes, and nothing is there that nobody asked for."""
    # A dead process's lease ends before another one can hold the machines: a deploy might come between.
    assert [wrong for wrong in world.watch.seen if "would start" not in wrong] == []
    assert not [one for one in world.living if one.metadata.get("fly_process_group") == "flykeep_worker"]
    if world.serving == "spoiled":
        assert world.server.config == before.config
        assert (world.living, world.volume_ids) == ([world.server], before.volumes)
    return len(world.living) <= 2 and len(world.volume_ids) == len(world.living)


async def one_death(directory: Path, at: int, *, ending: str | None, way: str) -> bool:
    """False where it came to its end before that moment."""
    async with restore_world(directory) as world:
        before = await prepared(world, ending)
        world.reaper = Reaper(at=at)
        is_done = await act(world, ending)
        world.reaper = Reaper()
        if not is_done:
            await gone_on(world, way)
        assert settled(world, before)
        return not is_done


@pytest.mark.parametrize(
    ("at", "ending", "way"),
    [
        (82, None, "undo"),
        (97, None, "resume"),
        (121, None, "resume"),
        (141, None, "reconcile"),
        (154, None, "reconcile"),
        (163, None, "undo"),
        (64, "undo", "resume"),
        (85, "undo", "reconcile"),
        (28, "finalize", "reconcile"),
    ],
)
async def test_whoever_goes_on_after_a_death_brings_it_to_one_of_its_volumes(
    tmp_path: Path, at: int, ending: str | None, way: str
) -> None:
    assert await one_death(tmp_path, at, ending=ending, way=way)


@full("awaits of a restore and of its ends, each with every way to go on")
@pytest.mark.parametrize("way", ["resume", "undo", "reconcile"])
@pytest.mark.parametrize("ending", [None, "undo", "finalize"])
async def test_a_death_at_any_await_is_gone_on_from(tmp_path: Path, ending: str | None, way: str) -> None:
    if ending == "finalize" and way == "undo":
        way = "resume"  # what is removed in part cannot be brought back
    for at in range(1, 2 * MOMENTS, stride(23, 23)):
        if not await one_death(tmp_path / str(at), at, ending=ending, way=way):
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize(
    ("call", "ending"),
    [
        ("make_volume", None),
        ("create_machine", None),
        ("make_machine", None),
        ("acquire_lease", None),
        ("stop_machine", None),
        ("set_metadata", None),
        ("update_machine", None),
        ("start_machine", None),
        ("uncordon_machine", None),
        ("update_machine", "undo"),
        ("start_machine", "undo"),
        ("destroy_machine", "undo"),
        ("delete_volume", "finalize"),
    ],
)
async def test_a_lost_answer_is_looked_after_and_no_effect_is_doubled(
    tmp_path: Path, call: str, ending: str | None, is_after: bool
) -> None:
    async with restore_world(tmp_path) as world:
        before = await prepared(world, ending)
        world.fly.faults.append(MemoryFault(call, FlyUnavailableError("lost"), is_after=is_after))
        if not await act(world, ending):
            await gone_on(world, "resume")
        assert settled(world, before)

"""Whatever dies or fails at any moment of a restore, the app ends on its old or on its new volume."""

from __future__ import annotations

import pytest

from flykeep.domain.errors import (
    FlyCapacityError,
    FlyConflictError,
    FlyError,
    FlyPreconditionError,
    FlyUnavailableError,
)
from flykeep.domain.restore_phases import RestorePhase
from flykeep.domain.run import RunState
from tests.full import full, stride
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.restore_crashes import Crashes, Scene, crashes
from tests.integration.jobs.scratch_world import Reaper

SCENES = [
    Scene(),
    Scene("stopped"),
    Scene("suspended"),
    Scene(are_names_unique=True),
    Scene(has_neighbour=True),
    Scene(is_unhealthy=True),
]
ENDINGS = pytest.mark.parametrize("ending", [None, "undo", "finalize"], ids=["restore", "undo", "finalize"])
LOST, REFUSED = FlyUnavailableError("no answer"), FlyConflictError("a deploy holds the machine")
FAULTS: dict[str, tuple[FlyError, bool]] = {
    "an answer lost before the effect": (LOST, False),
    "an answer lost after the effect": (LOST, True),
    "a conflict": (REFUSED, False),
    "a wrong state": (FlyPreconditionError("wrong state"), False),
    "no room": (FlyCapacityError("no room"), False),
}
_PARTS = 4
_STRIDE = stride(8, 23)
_FEW = 23


@pytest.mark.parametrize("scene", SCENES, ids=str)
async def test_a_restore_undone_leaves_the_app_as_it_was(parts: Parts, scene: Scene) -> None:
    made = await crashes(parts, scene)
    run, outcome = await made.run()
    assert outcome is not None
    assert (await made.assert_settled(run)).is_on_new, outcome
    undone = await made.end("undo", run)
    assert undone is not None
    assert await made.assert_settled(run) is RestorePhase.OVER, undone
    assert made.old.state != "destroyed"


@pytest.mark.parametrize("scene", [one for one in SCENES if not one.is_unhealthy], ids=str)
async def test_a_restore_finalized_leaves_the_new_machine_alone(parts: Parts, scene: Scene) -> None:
    made = await crashes(parts, scene)
    run, _ = await made.run()
    await made.finalized(run)
    assert made.old.state == "destroyed"


async def test_deploys_and_scaling_never_pick_the_spoiled_volume_while_a_restore_is_under_way(parts: Parts) -> None:
    """Judged before and after each call, by what is known of flyctl: see testing/launch_rules.py."""
    made = await crashes(parts)
    run, _ = await made.run()
    assert made.watch.looks > 80
    assert made.watch.seen == []
    await made.end("undo", run)
    assert made.watch.looks > 140
    assert made.watch.seen == []


# -- a process that dies


async def begun(parts: Parts, ending: str | None, number: int, scene: Scene) -> tuple[Crashes, Reaper]:
    """An app right before the run in question; the reaper counts that run's moments."""
    made = await crashes(parts, scene, number=number)
    if ending is not None:
        await made.run()
    made.reaper = Reaper()
    return made, made.reaper


async def moments(parts: Parts, ending: str | None, scene: Scene) -> int:
    made, reaper = await begun(parts, ending, 1_000_000, scene)
    await made.again(ending)
    seen = reaper.seen
    await made.finalized(made.restore)
    return seen


async def dies(parts: Parts, ending: str | None, at: int, how: str, scene: Scene) -> RestorePhase:
    """One life that ends at that moment, what comes after it, and how it all ends."""
    made, _ = await begun(parts, ending, at, scene)
    made.reaper = Reaper(at)
    assert await made.again(ending) is None
    await made.repaired(made.restore, how)
    phase = await made.assert_settled(made.restore)
    await made.finalized(made.restore)
    return phase


async def all_die(
    parts: Parts, ending: str | None, how: str, scene: Scene, *, part: int = 0, of: int = 1, step: int = _STRIDE
) -> set[str]:
    count = await moments(parts, ending, scene)
    assert count > 20
    phases = set()
    for at in range(1 + part, count + 1, step * of):
        try:
            phases.add((await dies(parts, ending, at, how, scene)).value)
        except AssertionError as error:
            raise AssertionError(f"died at moment {at} of {count}") from error
    return phases


@ENDINGS
async def test_a_process_may_die_at_any_moment(parts: Parts, ending: str | None) -> None:
    await all_die(parts, ending, "resume", Scene(), step=_FEW)


async def test_a_restore_whose_process_died_may_be_undone_instead(parts: Parts) -> None:
    assert RestorePhase.OVER in await all_die(parts, None, "undo", Scene(), step=_FEW)


@full("moments of a restore and of both its ends")
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("how", ["resume", "undo"])
@ENDINGS
async def test_a_process_may_die_at_every_moment(parts: Parts, ending: str | None, how: str, part: int) -> None:
    await all_die(parts, ending, how, Scene(), part=part, of=_PARTS)


@full("moments in each of the other scenes")
@pytest.mark.parametrize("scene", SCENES[1:-1], ids=str)
@ENDINGS
async def test_a_process_may_die_in_any_scene(parts: Parts, ending: str | None, scene: Scene) -> None:
    await all_die(parts, ending, "resume", scene, of=_PARTS)


# -- a Fly that fails


async def calls(parts: Parts, ending: str | None) -> int:
    made, _ = await begun(parts, ending, 1_000_000, Scene())
    before = len(made.fly.calls)
    await made.again(ending)
    count = len(made.fly.calls) - before
    await made.finalized(made.restore)
    return count


async def fails(parts: Parts, ending: str | None, at: int, error: FlyError, *, is_after: bool) -> RunState:
    """One run whose n-th call fails, then what a person does about it; the state is the run's."""
    made, _ = await begun(parts, ending, at, Scene())
    made.fail_at(at, error, is_after=is_after)
    outcome = await made.again(ending)
    assert outcome is not None
    made.live()
    if outcome.state is not RunState.SUCCEEDED:
        await made.repaired(made.restore, "resume")
    await made.assert_settled(made.restore)
    await made.finalized(made.restore)
    return outcome.state


async def all_fail(parts: Parts, ending: str | None, fault: str, stride: int) -> set[RunState]:
    error, is_after = FAULTS[fault]
    count = await calls(parts, ending)
    assert count > 8
    states = set()
    for at in range(1, count + 1, stride):
        try:
            states.add(await fails(parts, ending, at, error, is_after=is_after))
        except AssertionError as failure:
            raise AssertionError(f"{fault} at call {at} of {count}") from failure
    return states


@pytest.mark.parametrize("fault", FAULTS)
async def test_fly_may_fail_at_any_call_of_a_restore(parts: Parts, fault: str) -> None:
    await all_fail(parts, None, fault, stride(5, 11))


@full("calls of both ends of a restore")
@pytest.mark.parametrize("ending", ["undo", "finalize"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_fly_may_fail_at_every_call_of_an_end(parts: Parts, ending: str, fault: str) -> None:
    await all_fail(parts, ending, fault, stride(6, 6))

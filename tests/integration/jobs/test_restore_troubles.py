"""What stops a restore, where it leaves the target, and how it goes on."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.domain.errors import (
    BusyError,
    FlyCapacityError,
    FlyForbiddenError,
    FlyUnavailableError,
    IntegrityError,
    RefusalError,
)
from flykeep.domain.fly import HostStatus
from flykeep.domain.probes import ProbeOutcome
from flykeep.domain.restore_phases import RestorePhase
from flykeep.domain.run import RunState
from flykeep.testing.memory_platform import MemoryFault
from tests.integration.jobs.drill_world import FINE
from tests.integration.jobs.restore_world import RestoreParts, restore_world
from tests.integration.jobs.scratch_world import DiedError, Reaper

CHANGES = {"stop_machine", "start_machine", "cordon_machine", "update_machine", "set_metadata", "acquire_lease"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[RestoreParts]:
    async with restore_world(tmp_path) as made:
        yield made
        assert made.watch.seen == []


def untouched(world: RestoreParts, config: object) -> bool:
    """Whether the running machine is as it was, and nothing stands beside it."""
    assert (world.server.config, world.server.state, world.server.is_cordoned) == (config, "started", False)
    return world.living == [world.server] and len(world.volume_ids) == 1


async def test_failing_probes_leave_the_running_machine_alone_and_remove_the_new_volume(world: RestoreParts) -> None:
    config = copy.deepcopy(world.server.config)
    world.asking.result = replace(FINE, probes=(ProbeOutcome("exists: data", is_passed=False, detail="missing"),))
    with pytest.raises(IntegrityError, match="missing"):
        await world.begin()
    assert not CHANGES & set(world.fly.calls)
    assert untouched(world, config)
    assert (await world.record()).is_over


async def test_without_room_in_any_region_nothing_is_left(tmp_path: Path) -> None:
    async with restore_world(tmp_path, spare_regions=("ams",)) as world:
        config = copy.deepcopy(world.server.config)
        world.fly.full_regions = {"fra", "ams"}
        with pytest.raises(FlyCapacityError):
            await world.begin()
        assert untouched(world, config)


async def test_where_the_region_has_no_room_the_next_one_is_tried(tmp_path: Path) -> None:
    async with restore_world(tmp_path, spare_regions=("ams",)) as world:
        world.fly.full_regions = {"fra"}
        await world.begin()
        assert world.started[0].region == "ams"


async def test_a_host_without_room_for_the_machine_ends_it_before_anything_is_touched(world: RestoreParts) -> None:
    config = copy.deepcopy(world.server.config)
    world.fly.faults.append(MemoryFault("make_machine", FlyCapacityError("no room"), times=0))
    with pytest.raises(FlyCapacityError):
        await world.begin()
    assert untouched(world, config)


async def test_a_token_without_rights_leaves_nothing_to_decide(world: RestoreParts) -> None:
    world.fly.faults.append(MemoryFault("make_volume", FlyForbiddenError("no"), times=0))
    with pytest.raises(FlyForbiddenError):
        await world.begin()
    assert (await world.record()).is_over


async def test_a_deploy_that_holds_the_machine_refuses_the_restore(world: RestoreParts) -> None:
    world.fly.hold_by_others(world.server)
    with pytest.raises(BusyError, match="deploy"):
        await world.begin()
    assert len(world.volume_ids) == 1


async def test_a_deploy_that_comes_meanwhile_leaves_it_to_be_resumed(world: RestoreParts) -> None:
    def strike(call: str, is_after: bool) -> None:
        if (call, is_after) == ("make_machine", True):
            world.fly.hold_by_others(world.server)

    world.fly.watchers.append(strike)
    with pytest.raises(BusyError) as caught:
        await world.begin()
    run = await world.last()
    assert f"restore resume {run.id}" in caught.value.next_step
    assert world.serving == "spoiled"
    world.fly.watchers.pop()
    await world.parts.clock.sleep(timedelta(minutes=10))
    await world.end("resume", run)
    assert world.serving == "good"


async def test_failing_health_checks_stop_it_without_traffic_and_undo_goes_back(world: RestoreParts) -> None:
    world.fly.failing_checks = {"alive"}
    run = await world.begin()
    assert run.state is RunState.DEGRADED
    assert run.outcome is not None
    result = json.loads(run.outcome.result_json)
    assert (result["phase"], result["health"]) == ("checking", "unhealthy")
    assert f"restore undo {run.id}" in result["next_step"]
    assert world.started[0].is_cordoned
    await world.end("undo", run)
    assert world.serving == "spoiled"


async def test_health_checks_that_pass_later_let_traffic_in_by_resume(world: RestoreParts) -> None:
    world.fly.failing_checks = {"alive"}
    run = await world.begin()
    world.started[0].failing_checks = set()
    await world.end("resume", run)
    assert not world.started[0].is_cordoned
    assert (await world.record(run)).phase is RestorePhase.RESTORED


async def test_a_suspended_machine_is_stopped_and_never_resumed(world: RestoreParts) -> None:
    world.server.state = "suspended"
    states: list[str] = []
    world.fly.watchers.append(lambda _call, _after: states.append(world.server.state))
    await world.begin()
    assert list(dict.fromkeys(states)) == ["suspended", "stopped"]


async def test_a_machine_that_was_stopped_is_stopped_again_after_undo(world: RestoreParts) -> None:
    world.server.state = "stopped"
    run = await world.begin()
    assert world.serving == "good"
    await world.end("undo", run)
    assert world.started == []
    assert world.server.state == "stopped"


async def test_where_names_are_unique_the_new_machine_gets_a_derived_one(world: RestoreParts) -> None:
    world.fly.are_names_unique = True
    run = await world.begin()
    new, _ = world.made(await world.record(run))
    assert new.name.startswith("crocbot-")
    assert (await world.lineage()).machine_name == new.name


async def test_two_new_volumes_after_a_lost_answer_are_told_and_never_guessed(world: RestoreParts) -> None:
    def strike(call: str, is_after: bool) -> None:
        if (call, is_after) == ("make_volume", True):
            world.fly.add_volume("crocbot_data", contents="somebody's", size_gb=3)

    world.fly.watchers.append(strike)
    world.fly.faults.append(MemoryFault("make_volume", FlyUnavailableError("lost"), is_after=True))
    with pytest.raises(RefusalError, match="both new"):
        await world.begin()
    assert len(world.volume_ids) == 3
    assert world.serving == "spoiled"


async def test_a_second_restore_waits_until_the_first_is_decided(world: RestoreParts) -> None:
    run = await world.begin()
    with pytest.raises(RefusalError, match="is restored") as caught:
        await world.begin()
    assert f"restore undo {run.id}" in caught.value.next_step


async def test_standbys_of_other_machines_follow_the_machine_they_stand_by_for(world: RestoreParts) -> None:
    other = world.fly.add_volume("cache", contents="")
    standby = world.fly.add_machine("standby", other, state="stopped", standbys=[str(world.server.id)], mounts=[])
    run = await world.begin()
    new, _ = world.made(await world.record(run))
    assert standby.config["standbys"] == [new.id]
    assert standby.state == "stopped"
    await world.end("undo", run)
    assert standby.config["standbys"] == [world.server.id]


async def test_on_a_sick_host_the_saved_configuration_is_used_and_the_old_machine_stopped_when_it_returns(
    world: RestoreParts,
) -> None:
    world.watch.hosts_return = True
    world.sicken()
    run = await world.begin()
    steps = {step.name: step.detail for step in await world.parts.steps(run)}
    assert "unreachable" in steps["restore: safety snapshot done"]
    assert (await world.record(run)).is_fence_due

    world.fly.set_host(world.server, HostStatus.OK)
    world.watch.seen.clear()  # it came back by itself, which nobody can prevent
    assert len(world.started) == 2
    (told,) = await world.sweep.sweep((), is_applied=True)
    assert "host is back" in told.action
    assert world.serving == "good"
    assert world.server.state == "stopped"
    assert await world.sweep.sweep((), is_applied=True) == ()
    world.watch.seen.clear()


async def test_while_the_old_host_is_silent_there_is_neither_a_way_back_nor_an_end(world: RestoreParts) -> None:
    world.watch.hosts_return = True
    world.sicken()
    run = await world.begin()
    for ending in ("undo", "finalize"):
        with pytest.raises(RefusalError, match="host does not answer"):
            await world.end(ending, run)
    (kept,) = await world.sweep.sweep((), is_applied=True)
    assert kept.action.startswith("kept:")
    assert world.serving == "good"
    world.watch.seen.clear()  # a machine whose host is silent is taken for Launch's


async def test_a_kept_machine_that_somebody_started_is_not_removed(world: RestoreParts) -> None:
    run = await world.begin()
    world.server.state = "started"
    with pytest.raises(RefusalError, match="runs"):
        await world.end("finalize", run)
    assert world.server in world.living
    world.watch.seen.clear()


async def test_what_stopped_before_the_switch_waits_for_a_person_and_what_stopped_within_it_goes_on(
    tmp_path: Path,
) -> None:
    async with restore_world(tmp_path / "early") as early:
        early.reaper = Reaper(at=100)
        with pytest.raises(DiedError):
            await early.begin()
        early.reaper = Reaper()
        (shown,) = await early.sweep.sweep((), is_applied=True)
        assert "restore resume" in shown.action
        assert early.serving == "spoiled"
    async with restore_world(tmp_path / "late") as late:
        late.reaper = Reaper(at=155)
        with pytest.raises(DiedError):
            await late.begin()
        late.reaper = Reaper()
        (planned,) = await late.sweep.sweep((), is_applied=False)
        assert planned.action == "go on"
        (done,) = await late.sweep.sweep((), is_applied=True)
        assert done.action == "restored"
        assert late.serving == "good"

"""A restore of a target in place: what serves afterwards, what is kept, and the ways back."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flykeep.domain.fly import Inventory
from flykeep.domain.lineages import LineagePlan, resolve_lineages
from flykeep.domain.restore_phases import RestoreRecord, restore_record, volumes_in_the_making
from flykeep.domain.run import RunState
from tests.integration.jobs.restore_world import RestoreParts, restore_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[RestoreParts]:
    async with restore_world(tmp_path) as made:
        yield made
        assert made.watch.seen == []


async def test_the_snapshots_contents_serve_and_the_old_machine_is_kept_stopped_on_the_old_volume(
    world: RestoreParts,
) -> None:
    before = copy.deepcopy(world.server.config)
    run = await world.begin()

    assert run.state is RunState.SUCCEEDED
    assert world.serving == "good"
    new, disk = world.made(await world.record(run))
    wanted = before | {"mounts": [before["mounts"][0] | {"volume": disk.volume.id}]}
    assert (new.config, new.name, new.region, new.is_cordoned) == (wanted, "crocbot", "fra", False)
    assert (disk.volume.name, disk.volume.size_gb) == ("crocbot_data", 3)
    assert (world.server.state, world.server.volume_id) == ("stopped", world.disk.volume.id)
    assert world.server.config["services"][0]["autostart"] is False
    assert "fly_platform_version" not in world.server.metadata
    assert world.disk.contents == "spoiled"


async def test_undo_brings_the_spoiled_state_back_exactly_and_removes_what_was_made(world: RestoreParts) -> None:
    before, volumes = copy.deepcopy(world.server.config), world.volume_ids
    run = await world.begin()
    await world.end("undo", run)

    assert world.serving == "spoiled"
    assert (world.server.config, world.server.is_cordoned) == (before, False)
    assert world.living == [world.server]
    assert world.volume_ids == volumes
    assert (await world.record(run)).is_over


async def test_finalize_removes_the_old_machine_and_volume_and_nothing_else(world: RestoreParts) -> None:
    other = world.fly.add_volume("crocbot_data", contents="another")
    machine = world.fly.add_machine("crocbot-2", other, metadata={"fly_process_group": "other"}, state="stopped")
    run = await world.begin()
    new, disk = world.made(await world.record(run))
    world.fly.watchers.clear()  # between the two removals nothing holds the volume any more
    await world.end("finalize", run)

    assert world.living == [machine, new]
    assert world.volume_ids == {other.volume.id, disk.volume.id}
    assert world.serving == "good"
    assert (await world.record(run)).is_over


async def test_the_target_goes_on_under_its_new_ids_and_back(world: RestoreParts) -> None:
    run = await world.begin()
    record = await world.record(run)
    moved = await world.lineage()
    assert moved.machine_id == record.machine_id
    assert moved.volume_ids == (world.disk.volume.id, record.volume_id)

    await world.end("undo", run)
    back = await world.lineage()
    assert back.machine_id == world.server.id
    assert back.volume_ids == (record.volume_id, world.disk.volume.id)


async def test_what_came_out_is_told_with_the_next_step(world: RestoreParts) -> None:
    run = await world.begin()
    assert run.outcome is not None
    told = json.loads(run.outcome.result_json)
    assert (told["phase"], told["health"], told["old_volume_id"]) == ("restored", "healthy", world.disk.volume.id)
    assert f"restore finalize {run.id}" in told["next_step"]
    assert told["down_s"] >= 0


async def test_a_check_during_a_restore_takes_the_new_volume_for_no_target_of_its_own(world: RestoreParts) -> None:
    plans: list[LineagePlan] = []

    def resolved(records: tuple[RestoreRecord, ...]) -> LineagePlan:
        volumes = tuple(disk.volume for disk in world.fly.disks.values())
        return resolve_lineages(
            [world.parts.lineage],
            Inventory(world.parts.clock.now(), tuple(one.facts() for one in world.living), volumes),
            rules=(world.parts.rule,),
            now=world.parts.clock.now(),
            new_id=lambda: "another",
            passing=volumes_in_the_making(records, volumes),
        )

    run = await world.begin()
    steps = await world.parts.steps(run)
    for number, step in enumerate(steps, start=1):
        if step.name in {"restore: volume made", "restore: machine made"}:
            record = restore_record(run.id, steps[:number])
            assert record is not None
            plans.append(resolved((record,)))
    assert len(plans) == 2
    assert all([one.lineage.id for one in plan.current] == [world.parts.lineage.id] for plan in plans)
    assert not any(plan.unprotected for plan in plans)
    assert len(resolved(()).current) == 2  # without it the new volume would be taken for another target

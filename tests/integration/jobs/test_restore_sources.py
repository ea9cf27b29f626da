"""What a restore starts from: artifacts, targets without a machine or a volume, and what Fly does not tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.domain.errors import FlyUnavailableError, IntegrityError, NotFoundError, RefusalError, UsageError
from flykeep.domain.fly import HostStatus
from flykeep.domain.ids import SnapshotId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import RunRequest
from tests.integration.jobs.drill_world import FINE
from tests.integration.jobs.restore_world import RestoreParts, restore_world
from tests.integration.jobs.scratch_world import DiedError, Reaper


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[RestoreParts]:
    async with restore_world(tmp_path) as made:
        yield made


async def an_artifact(world: RestoreParts) -> str:
    parts = world.parts
    parts.identity = "AGE-SECRET-KEY-1PLANTED"
    run = await parts.claimed(kind=JobKind.EXPORT)
    await world.close(run, await parts.export.run(parts.work(run)))
    async with parts.catalog.transaction() as tx:
        return (await tx.artifacts())[0].export_id


async def test_an_artifact_fills_an_empty_volume_and_is_compared_with_it(world: RestoreParts) -> None:
    run = await world.begin(snapshot_id=None, export_id=await an_artifact(world))
    (order,) = world.asking.seen
    assert order.restore is not None
    _, disk = world.made(await world.record(run))
    assert (disk.contents, world.started[0].volume_id) == ("", disk.volume.id)
    assert world.watch.seen == []


async def test_a_volume_that_was_filled_half_way_is_made_anew(world: RestoreParts) -> None:
    export_id = await an_artifact(world)
    world.asking.errors = [DiedError()]
    world.reaper = Reaper()
    with pytest.raises(DiedError):
        await world.begin(snapshot_id=None, export_id=export_id)
    run = await world.last()
    first = (await world.record(run)).volume_id
    await world.end("resume", run)
    record = await world.record(run)
    assert record.volume_id != first
    assert world.volume_ids == {world.disk.volume.id, record.volume_id}


async def test_an_artifact_that_does_not_come_out_as_it_went_in_is_not_used(world: RestoreParts) -> None:
    export_id = await an_artifact(world)
    world.asking.result = replace(FINE, comparison=None)
    with pytest.raises(IntegrityError):
        await world.begin(snapshot_id=None, export_id=export_id)
    assert world.serving == "spoiled"
    assert len(world.volume_ids) == 1


async def test_without_workers_the_volume_is_waited_for_and_artifacts_are_refused(tmp_path: Path) -> None:
    async with restore_world(tmp_path, has_workers=False) as world:
        export_id = await an_artifact(world)
        with pytest.raises(RefusalError, match="no image"):
            await world.begin(snapshot_id=None, export_id=export_id)
        world.fly.looks_until_usable = 3
        await world.begin()
        assert world.serving == "good"


async def test_a_volume_that_never_becomes_usable_is_given_up_and_can_be_undone(tmp_path: Path) -> None:
    async with restore_world(tmp_path, has_workers=False) as world:
        world.fly.looks_until_usable = 10_000
        with pytest.raises(FlyUnavailableError, match="still 'restoring'"):
            await world.begin()
        await world.end("undo", await world.last())
        assert world.volume_ids == {world.disk.volume.id}


async def test_a_target_whose_machine_and_volume_were_destroyed_comes_back_from_what_was_saved(
    world: RestoreParts,
) -> None:
    world.fly.watchers.clear()
    world.server.state = "destroyed"
    world.disk.volume = replace(world.disk.volume, state="pending_destroy", attached_machine_id=None)
    with pytest.raises(RefusalError, match="which region"):
        await world.begin()
    world.spare_regions = ("fra",)
    run = await world.begin()
    assert world.serving == "good"
    await world.end("finalize", run)
    assert len(world.living) == 1


async def test_undo_without_an_old_machine_only_removes_what_was_made(world: RestoreParts) -> None:
    world.fly.watchers.clear()
    world.server.state = "destroyed"
    world.disk.volume = replace(world.disk.volume, attached_machine_id=None)
    run = await world.begin()
    assert world.serving == "good"
    await world.end("undo", run)
    assert world.living == []
    assert world.volume_ids == {world.disk.volume.id}


async def test_where_fly_moved_the_machine_its_new_volume_is_the_one_that_is_replaced(world: RestoreParts) -> None:
    moved = world.fly.add_volume("crocbot_data", contents="moved", size_gb=3)
    world.server.config["mounts"][0]["volume"] = moved.volume.id
    moved.volume = replace(moved.volume, attached_machine_id=world.server.id)
    world.disk.volume = replace(world.disk.volume, state="pending_destroy", attached_machine_id=None)
    world.watch.spoiled = moved.volume.id
    run = await world.begin()
    assert (await world.record(run)).beginning.volume_id == moved.volume.id


async def test_a_machine_that_has_another_volume_by_now_is_left_alone(world: RestoreParts) -> None:
    other = world.fly.add_volume("something_else", contents="")
    world.server.config["mounts"][0]["volume"] = other.volume.id
    world.disk.volume = replace(world.disk.volume, state="pending_destroy", attached_machine_id=None)
    world.fly.watchers.clear()
    planner = replace(world.planner, spare_regions=("fra",))
    plan = await planner.plan(world.parts.lineage, RunRequest(snapshot_id=world.shot))
    assert plan.beginning.machine_id is None


async def test_a_host_of_which_nothing_is_known_is_waited_for(world: RestoreParts) -> None:
    world.fly.set_host(world.server, HostStatus.UNKNOWN)
    with pytest.raises(RefusalError, match="its host is unknown"):
        await world.begin()


async def test_a_request_names_one_source_that_exists(world: RestoreParts) -> None:
    with pytest.raises(UsageError):
        await world.begin(export_id="both")
    with pytest.raises(NotFoundError, match="no snapshot"):
        await world.begin(snapshot_id=SnapshotId("vs_none"))
    with pytest.raises(NotFoundError, match="no artifact"):
        await world.begin(snapshot_id=None, export_id="none")


async def test_the_plan_tells_how_long_the_last_restore_took_down(world: RestoreParts) -> None:
    run = await world.begin()
    await world.end("undo", run)
    plan = await world.planner.plan(await world.lineage(), RunRequest(snapshot_id=world.shot))
    assert "measured by the last restore" in plan.down_for


async def test_somebody_who_rebuilt_the_machine_meanwhile_is_not_overridden(world: RestoreParts) -> None:
    def rebuild(call: str, is_after: bool) -> None:
        if (call, is_after) == ("make_machine", True):
            other = world.fly.add_volume("crocbot_data", contents="theirs")
            world.server.config["mounts"][0]["volume"] = other.volume.id
            other.volume = replace(other.volume, attached_machine_id=world.server.id)

    world.fly.watchers[:] = [rebuild]
    with pytest.raises(RefusalError, match="does not mount"):
        await world.begin()
    assert world.serving == "theirs"


async def test_a_volume_that_fly_scale_took_is_not_fought_for(world: RestoreParts) -> None:
    world.reaper = Reaper(at=113)
    with pytest.raises(DiedError):
        await world.begin()
    world.reaper = Reaper()
    run = await world.last()
    record = await world.record(run)
    assert record.machine is None
    assert record.volume_id is not None
    disk = world.fly.disks[record.volume_id]
    disk.volume = replace(disk.volume, attached_machine_id=None)
    world.fly.add_machine("scaled", disk, state="stopped")
    with pytest.raises(RefusalError, match="has taken the new volume"):
        await world.end("resume", run)
    assert world.serving == "spoiled"


async def test_a_dead_processs_lease_is_waited_for(world: RestoreParts) -> None:
    world.reaper = Reaper(at=141)
    with pytest.raises(DiedError):
        await world.begin()
    world.reaper = Reaper()
    run = await world.last()
    before = world.parts.clock.now()
    await world.end("resume", run)
    assert world.parts.clock.now() - before >= timedelta(minutes=1)
    assert world.serving == "good"

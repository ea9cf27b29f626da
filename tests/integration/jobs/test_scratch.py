"""Exports from snapshots: production is left alone, and nothing temporary outlives whatever happens."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flykeep.domain.artifact import Consistency
from flykeep.domain.errors import (
    BusyError,
    FlyCapacityError,
    FlyForbiddenError,
    FlyUnavailableError,
    RefusalError,
    WorkerError,
)
from flykeep.domain.ids import OwnerId, VolumeName
from flykeep.domain.policy import Hook, Hooks, SnapshotRule
from flykeep.domain.run import Outcome, Run, RunState
from flykeep.domain.scratch import WORKER_GUESTS, ScratchPlan
from flykeep.jobs.context import Journal, TargetWork
from flykeep.jobs.scratch import Errand
from flykeep.ports.scratch import OWNER_KEY
from tests.integration.jobs.parts import OWNER, Parts
from tests.integration.jobs.scratch_world import APP, DiedError, Reaper, ScratchParts, ScratchWorld, SnapshotFly
from tests.unit.domain.builders import volume


@pytest.fixture
def made(parts: Parts) -> ScratchParts:
    fly = SnapshotFly(parts.clock)
    parts.fly = fly
    return ScratchParts(parts, fly, ScratchWorld(parts.clock))


def work_of(made: ScratchParts, run: Run) -> TargetWork:
    """Its journal dies with the process."""
    work = made.parts.work(run)
    return replace(work, journal=Journal(run, made.export.catalog, made.parts.clock))


async def exported(made: ScratchParts) -> Run:
    run = await made.parts.claimed()
    await made.export.run(work_of(made, run))
    return run


async def names(made: ScratchParts, run: Run) -> list[str]:
    return [step.name for step in await made.parts.steps(run)]


def assert_nothing_left(made: ScratchParts) -> None:
    assert (made.world.servers, made.world.volumes) == ({}, {})


async def test_a_snapshot_is_exported_without_a_changing_request_to_production(made: ScratchParts) -> None:
    made.parts.rule = replace(made.parts.rule, hooks=Hooks(before_export=Hook(("freeze",))))
    await exported(made)
    async with made.parts.catalog.transaction() as tx:
        artifacts = await tx.artifacts()
    assert len(artifacts) == 2
    for artifact in artifacts:
        manifest = artifact.manifest
        assert (manifest.consistency, manifest.origin.source) == (Consistency.SNAPSHOT, "snapshot")
        assert manifest.origin.snapshot_id == "vs_0"
        assert manifest.started_at == made.fly.rows[0].created_at
    assert made.fly.changes == []
    assert_nothing_left(made)


@pytest.mark.parametrize("state", ["stopped", "suspended", None])
async def test_a_target_without_a_running_machine_is_exported(made: ScratchParts, state: str | None) -> None:
    if state is None:
        made.fly.the_volume = replace(made.fly.the_volume, attached_machine_id=None)
    else:
        made.fly.the_machine = replace(made.fly.the_machine, state=state)
    await exported(made)
    assert_nothing_left(made)


async def test_a_store_that_a_worker_machine_does_not_have_is_refused_or_read_over_ssh(made: ScratchParts) -> None:
    made.hidden = frozenset({"offsite"})
    run = await made.parts.claimed()
    asked = replace(run, request=replace(run.request, source="snapshot"))
    with pytest.raises(RefusalError, match="'offsite' is a folder that a worker machine does not have") as refused:
        await made.export.run(work_of(made, asked))
    assert "--source ssh" in refused.value.next_step
    await made.export.run(work_of(made, run))
    async with made.parts.catalog.transaction() as tx:
        assert {one.manifest.origin.source for one in await tx.artifacts()} == {"ssh"}
    assert_nothing_left(made)


async def test_what_is_read_is_where_fly_says_the_volume_is_mounted(made: ScratchParts) -> None:
    made.parts.rule = one_copy(made)
    work = work_of(made, await made.parts.claimed())
    await made.export.run(work)
    made.world.mount = "/elsewhere"
    await made.export.run(work)
    assert [order.directory for order in made.parts.workers.orders] == ["/snapshot", "/elsewhere"]


async def test_a_snapshot_that_is_too_old_is_not_read_and_a_new_one_is_taken(made: ScratchParts) -> None:
    rule = SnapshotRule(max_age=timedelta(hours=1))
    made.parts.rule = replace(made.parts.rule, policy=replace(made.parts.rule.policy, snapshot=rule))
    await exported(made)
    assert made.fly.changes == ["request_snapshot"]
    async with made.parts.catalog.transaction() as tx:
        assert {one.manifest.origin.snapshot_id for one in await tx.artifacts()} == {"vs_taken"}


async def test_guest_sizes_then_regions_are_walked_and_refused_attempts_leave_nothing(made: ScratchParts) -> None:
    made.world.no_room = {("fra", guest.memory_mb) for guest in WORKER_GUESTS}
    made.parts.rule = one_copy(made)
    await exported(made)
    assert made.world.asked == [*(("fra", guest.memory_mb) for guest in WORKER_GUESTS), ("ams", 512)]
    assert_nothing_left(made)


async def test_no_room_anywhere_is_said_and_leaves_nothing(made: ScratchParts) -> None:
    made.world.no_room = {(region, guest.memory_mb) for region in ("fra", "ams") for guest in WORKER_GUESTS}
    with pytest.raises(FlyCapacityError):
        await exported(made)
    assert_nothing_left(made)


async def test_an_app_that_may_not_have_the_snapshot_is_refused_with_what_to_do(made: ScratchParts) -> None:
    made.parts.rule = one_copy(made)
    made.world.refusals = [FlyForbiddenError("not yours")]
    with pytest.raises(RefusalError, match="not yours") as refused:
        await exported(made)
    assert "in_target_app" in refused.value.next_step
    assert_nothing_left(made)


async def test_a_worker_that_fails_and_a_volume_that_lets_go_late_leave_nothing(made: ScratchParts) -> None:
    made.parts.workers.errors = [WorkerError("it died")]
    made.world.stubborn = 3
    with pytest.raises(WorkerError):
        await exported(made)
    assert_nothing_left(made)


async def test_cancelling_removes_everything_before_it_is_passed_on(made: ScratchParts) -> None:
    made.parts.workers.hold = asyncio.Event()
    run = await made.parts.claimed()
    export = asyncio.create_task(made.export.run(work_of(made, run)))
    await made.parts.workers.began.wait()
    assert made.world.servers
    export.cancel()
    with pytest.raises(asyncio.CancelledError):
        await export
    assert_nothing_left(made)
    assert await made.parts.keys_in("offsite") == []


async def test_a_second_cancellation_does_not_stop_the_removal(made: ScratchParts) -> None:
    made.parts.workers.hold = asyncio.Event()
    made.world.slow = asyncio.Event()
    export = asyncio.create_task(made.export.run(work_of(made, await made.parts.claimed())))
    await made.parts.workers.began.wait()
    export.cancel()
    await made.world.destroying.wait()
    export.cancel()
    await asyncio.sleep(0)
    made.world.slow.set()
    with pytest.raises(asyncio.CancelledError):
        await export
    assert_nothing_left(made)


async def test_more_exports_than_places_wait_and_give_up_in_the_end(made: ScratchParts) -> None:
    made.rule = replace(made.rule, max_workers=1)
    other = await made.parts.claimed()
    await Journal(other, made.parts.catalog, made.parts.clock).step("scratch place")
    waiting = await made.parts.pending()
    journal = Journal(waiting, made.parts.catalog, made.parts.clock)
    with pytest.raises(BusyError, match="1 temporary machines are in use"):
        async with made.scratch.worker(journal, plan_of(waiting), Errand("/snapshot", ("stand",))):
            pytest.fail("there was no place")
    await Journal(other, made.parts.catalog, made.parts.clock, _number=1).step("scratch removed")
    async with made.scratch.worker(journal, plan_of(waiting), Errand("/snapshot", ("stand",))) as machine:
        assert machine.is_started
    assert_nothing_left(made)


async def test_a_creation_whose_outcome_is_unknown_is_looked_for_again_by_reconcile(made: ScratchParts) -> None:
    made.parts.rule = one_copy(made)
    made.world.refusals = [FlyUnavailableError("no answer")]
    run = await made.parts.claimed()
    with pytest.raises(FlyUnavailableError):
        await made.export.run(work_of(made, run))
    assert "scratch left behind" in await names(made, run)
    (begun,) = [step for step in await made.parts.steps(run) if step.name == "scratch"]
    late = volume("vol_late", app=APP, machine=None, created_at=begun.at)
    made.world.volumes["vol_late"] = replace(late, name=json.loads(begun.detail)["name"])
    report = await made.reconcile.reconcile(is_applied=True)
    assert [left.action for left in report.scratch] == ["remove"]
    assert_nothing_left(made)


async def moments(made: ScratchParts) -> int:
    """How many moments a whole export has."""
    made.reaper = Reaper()
    run = await exported(made)
    async with made.parts.catalog.transaction() as tx:
        await tx.finish(run.id, outcome=Outcome(RunState.SUCCEEDED), now=made.parts.clock.now())
    return made.reaper.seen


async def test_whenever_the_process_dies_reconcile_leaves_nothing_of_it_and_everything_else(made: ScratchParts) -> None:
    made.parts.rule = one_copy(made)
    await moments(made)  # the first export of a store writes more than the later ones
    count = await moments(made)
    planted = plant(made)
    died_with_something = 0
    for at in range(1, count + 1):
        owner = OwnerId(f"process-{at}")
        run = await made.parts.claimed(owner=owner)
        made.reaper = Reaper(at)
        with pytest.raises(DiedError):
            await made.export.run(work_of(made, run))
        made.reaper = Reaper()
        died_with_something += everything(made) != planted
        applied = await made.reconcile.reconcile(is_applied=True)
        assert everything(made) == planted, f"died at {at}: {await names(made, run)}"
        strange = [left for left in applied.scratch if left.run_id is None]
        assert [set(left.names) for left in strange] == [{"flykeep-worker-look-alike", "tagged", "fk_look_alike"}]
        assert [key for key in await made.parts.keys_in("offsite") if "manifest" in key] == [
            artifact.manifest_key for artifact in await artifacts(made)
        ]
    assert count > 30
    assert died_with_something > 5


async def artifacts(made: ScratchParts) -> list[Any]:
    async with made.parts.catalog.transaction() as tx:
        return sorted(await tx.artifacts(), key=lambda artifact: artifact.manifest_key)


def plant(made: ScratchParts) -> set[str]:
    """What looks like flykeep's, in the very same app."""
    made.world.machine("flykeep-worker-look-alike", metadata={"fly_process_group": "flykeep_worker"})
    made.world.machine("tagged", metadata={OWNER_KEY: "somebody's run"})
    made.world.volumes["vol_x"] = replace(volume("vol_x", app=APP, machine=None), name=VolumeName("fk_look_alike"))
    return everything(made)


def everything(made: ScratchParts) -> set[str]:
    return {*made.world.servers, *made.world.volumes}


async def test_what_a_worker_may_still_write_is_removed_after_its_machine_and_not_before(made: ScratchParts) -> None:
    made.parts.rule = one_copy(made)
    made.parts.workers.errors = [WorkerError("it fell silent")]
    made.world.deaf = True
    run = await made.parts.claimed()
    with pytest.raises(WorkerError):
        await made.export.run(work_of(made, run))
    kept = await made.reconcile.reconcile(is_applied=True)
    assert [left.action for left in kept.leftovers] == ["kept: its worker machine may still be writing"]
    assert len(made.world.servers) == 1
    made.world.deaf = False
    await made.parts.stores["offsite"].put(f"{kept.leftovers[0].prefix}/data.tar.zst.age.00002", b"late")
    removed = await made.reconcile.reconcile(is_applied=True)
    assert [left.action for left in removed.leftovers] == ["remove"]
    assert len(removed.leftovers[0].objects) == 2
    assert await made.parts.keys_in("offsite") == []
    assert_nothing_left(made)


async def test_a_fly_that_does_not_answer_holds_nobody_up(made: ScratchParts, monkeypatch: pytest.MonkeyPatch) -> None:
    made.parts.rule = one_copy(made)
    made.reaper = Reaper(40)
    with pytest.raises(DiedError):
        await exported(made)
    made.reaper = Reaper()
    made.world.slow = asyncio.Event()  # it never comes
    monkeypatch.setattr("flykeep.jobs.scratch_sweep._BRIEF_LIMIT", timedelta(milliseconds=50))
    kept = await made.reconcile.reconcile(is_applied=True, is_thorough=False)
    assert [left.action for left in kept.scratch] == ["kept: Fly does not answer"]
    assert len(kept.scratch[0].names) == 2
    made.world.slow.set()
    await made.reconcile.reconcile(is_applied=True)
    assert_nothing_left(made)


async def test_nothing_is_looked_for_that_no_run_left_unless_it_is_asked_for(made: ScratchParts) -> None:
    made.world.apps.clear()
    planted = plant(made)
    calls: list[str] = []
    made.world.called = calls
    assert (await made.reconcile.reconcile(is_applied=True, is_thorough=False)).scratch == ()
    assert calls == []
    await made.reconcile.reconcile(is_applied=True)
    assert calls == ["machines"]
    assert everything(made) == planted


async def test_a_volume_above_the_limit_is_refused_before_anything_is_made(made: ScratchParts) -> None:
    made.rule = replace(made.rule, max_volume_gb=1)
    made.fly.the_volume = replace(made.fly.the_volume, size_gb=2)
    run = await made.parts.claimed()
    asked = replace(run, request=replace(run.request, source="snapshot"))
    with pytest.raises(RefusalError, match="max_volume_gb is 1"):
        await made.export.run(work_of(made, asked))
    assert_nothing_left(made)


async def test_a_volume_or_machine_that_does_not_come_up_in_time_is_given_up_and_removed(made: ScratchParts) -> None:
    made.parts.rule = one_copy(made)
    made.world.stays = "restoring"
    with pytest.raises(FlyUnavailableError, match="still 'restoring'"):
        await exported(made)
    assert_nothing_left(made)


async def test_a_machine_that_does_not_start_in_time_is_given_up_and_removed(made: ScratchParts) -> None:
    made.parts.rule = one_copy(made)
    made.world.starts = False
    with pytest.raises(FlyUnavailableError, match="did not start within"):
        await exported(made)
    assert_nothing_left(made)


async def died_with_both(made: ScratchParts) -> None:
    """A machine and a volume of a run whose process is dead."""
    made.parts.rule = one_copy(made)
    made.reaper = Reaper(40)
    with pytest.raises(DiedError):
        await exported(made)
    made.reaper = Reaper()
    assert len(everything(made)) == 2


async def test_what_does_not_go_away_in_time_is_kept_for_the_next_look(made: ScratchParts) -> None:
    await died_with_both(made)
    made.world.lingers = True
    report = await made.reconcile.reconcile(is_applied=True)
    assert report.scratch[0].action == "kept: the machine is still there"
    made.world.lingers = False
    made.world.stubborn = 1000
    report = await made.reconcile.reconcile(is_applied=True)
    assert report.scratch[0].action == "kept: it is attached"
    made.world.stubborn = 0
    await made.reconcile.reconcile(is_applied=True)
    assert_nothing_left(made)


async def test_a_machine_that_fly_has_forgotten_while_it_was_waited_for_is_gone(made: ScratchParts) -> None:
    await died_with_both(made)
    made.world.forgets = True
    assert [left.action for left in (await made.reconcile.reconcile(is_applied=True)).scratch] == ["remove"]
    assert_nothing_left(made)


async def test_an_app_that_is_gone_took_everything_with_it(made: ScratchParts) -> None:
    await died_with_both(made)
    made.world.apps.clear()
    assert (await made.reconcile.reconcile(is_applied=True)).scratch == ()


async def test_look_alikes_are_not_looked_for_where_there_is_no_app_of_our_own_or_no_answer(made: ScratchParts) -> None:
    sweep = made.reconcile.scratch
    assert sweep is not None
    plant(made)
    assert await replace(sweep, app=None).sweep([], [], is_applied=True) == ()
    made.world.refuses_to_list = True
    (left,) = await sweep.sweep([], [], is_applied=True)
    assert (left.action, left.names) == ("kept: no answer", ())


async def test_namesakes_of_journalled_things_are_left_alone(made: ScratchParts) -> None:
    run = await made.parts.claimed()
    journal = Journal(run, made.parts.catalog, made.parts.clock)
    await journal.step("scratch", kind="volume", app=APP, name="fk_mine_1")
    await journal.step("scratch", kind="machine", app=APP, name="flykeep-worker-mine-1")
    made.world.machine("flykeep-worker-mine-1", metadata={OWNER_KEY: "another run"})
    made.world.machine("flykeep-worker-mine-1", metadata=None)  # its host does not tell
    older = volume("vol_older", app=APP, machine=None, created_at=made.parts.clock.now() - timedelta(days=1))
    made.world.volumes["vol_older"] = replace(older, name=VolumeName("fk_mine_1"))
    before = everything(made)
    await made.reconcile.reconcile(is_applied=True)
    assert everything(made) == before


async def test_without_apply_it_is_shown_and_nothing_is_removed(made: ScratchParts) -> None:
    made.parts.rule = one_copy(made)
    made.reaper = Reaper(40)
    with pytest.raises(DiedError):
        await exported(made)
    made.reaper = Reaper()
    before = everything(made)
    shown = await made.reconcile.reconcile(is_applied=False)
    assert everything(made) == before
    assert len(before) == 2
    assert (await made.reconcile.reconcile(is_applied=True)).scratch == shown.scratch
    assert_nothing_left(made)


async def test_the_worker_of_a_living_process_is_left_alone_and_not_reported(made: ScratchParts) -> None:
    made.parts.workers.hold = asyncio.Event()
    made.parts.rule = one_copy(made)
    run = await made.parts.claimed()
    async with made.parts.owners.hold(OWNER, is_daemon=False):
        export = asyncio.create_task(made.export.run(work_of(made, run)))
        await made.parts.workers.began.wait()
        report = await made.reconcile.reconcile(is_applied=True)
        assert report.scratch == ()
        assert made.world.servers
        made.parts.workers.hold.set()
        await export
    assert_nothing_left(made)


async def test_a_scratch_app_that_does_not_exist_holds_nothing(made: ScratchParts) -> None:
    made.world.apps.clear()
    assert (await made.reconcile.reconcile(is_applied=True)).scratch == ()


def one_copy(made: ScratchParts) -> Any:
    rule = made.parts.rule
    return replace(rule, policy=replace(rule.policy, copies=rule.policy.copies[:1]))


def plan_of(run: Run) -> ScratchPlan:
    return ScratchPlan(APP, "vs_0", 3, ("fra",), run.id)  # type: ignore[arg-type]

"""Snapshots over the wire: matched, waited for, never doubled."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunState
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.scenario import Progress
from tests.integration.jobs.workplace import HOUR, Workplace, one_volume, until, workplace

MINUTE = timedelta(minutes=1)
CREATE = "snapshot.create"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Workplace]:
    async with workplace(tmp_path) as opened:
        await opened.lineage()
        yield opened


def result(run: Run) -> dict[str, object]:
    assert run.outcome is not None
    found = json.loads(run.outcome.result_json)
    assert isinstance(found, dict)
    return found


def failure(run: Run) -> tuple[str, str]:
    assert run.outcome is not None
    assert run.outcome.failure is not None
    return run.outcome.failure.code, run.outcome.failure.message


async def test_a_snapshot_is_asked_for_once_and_matched_by_the_id_fly_gave(at: Workplace) -> None:
    run = await at.run(JobKind.SNAPSHOT)
    newest = at.volume.snapshots[-1]
    assert run.state is RunState.SUCCEEDED
    assert result(run)["snapshot_id"] == newest.id
    assert result(run)["is_coalesced"] is False
    assert len(at.volume.snapshots) == 2
    assert at.asked(CREATE) == 1
    assert await at.step_names(run) == ["request snapshot", "snapshot pending", "snapshot done"]


async def test_the_finished_snapshot_is_recorded_with_the_run_that_asked_for_it(at: Workplace) -> None:
    run = await at.run(JobKind.SNAPSHOT)
    async with at.application.catalog.transaction() as tx:
        (recorded,) = await tx.recorded_snapshots(run.lineage_id)
    assert recorded.run_id == run.id
    assert recorded.snapshot.id == at.volume.snapshots[-1].id


async def test_the_row_named_by_fly_wins_over_another_new_one(tmp_path: Path) -> None:
    """Somebody's own snapshot is made while ours is listed as running: ours is the answer."""
    slow = one_volume().model_copy(update={"snapshot_progress": Progress(polls=6, seconds=None)})
    async with workplace(tmp_path, scenario=slow) as at:
        task = asyncio.ensure_future(at.run(JobKind.SNAPSHOT))
        await until(lambda: at.asked(CREATE) > 0 and at.volume.snapshots[-1].polls >= 4)
        ours = at.volume.snapshots[-1]
        at.sim.world.add_snapshot(at.volume, age=timedelta(0))
        run = await task
    assert result(run)["snapshot_id"] == ours.id


@pytest.mark.parametrize("kind", [FaultKind.NO_GRAPH_ID])
async def test_without_an_id_in_the_answer_the_new_row_of_the_list_is_taken(at: Workplace, kind: FaultKind) -> None:
    at.arm(Fault(kind=kind, action=CREATE))
    run = await at.run(JobKind.SNAPSHOT)
    assert run.state is RunState.SUCCEEDED
    assert result(run)["snapshot_id"] == at.volume.snapshots[-1].id
    assert len(at.volume.snapshots) == 2


async def test_a_snapshot_made_since_the_slots_instant_counts_whoever_asked_for_it(at: Workplace) -> None:
    slot_at = at.clock.now() - 10 * MINUTE
    theirs = at.sim.world.add_snapshot(at.volume, age=5 * MINUTE)
    run = await at.run(JobKind.SNAPSHOT, slot_at=slot_at)
    assert result(run) | {"snapshot_id": theirs.id, "is_coalesced": True} == result(run)
    assert at.asked(CREATE) == 0
    assert await at.step_names(run) == ["snapshot exists already"]


async def test_a_snapshot_made_before_the_slots_instant_does_not_count(at: Workplace) -> None:
    at.sim.world.add_snapshot(at.volume, age=5 * MINUTE)
    run = await at.run(JobKind.SNAPSHOT, slot_at=at.clock.now() - 4 * MINUTE)
    assert result(run)["is_coalesced"] is False
    assert at.asked(CREATE) == 1


async def test_an_interrupted_run_does_not_make_a_second_snapshot(at: Workplace) -> None:
    slot_at = at.clock.now()
    first = asyncio.ensure_future(at.application.runner.execute(await at.begun(JobKind.SNAPSHOT, slot_at=slot_at)))
    await until(lambda: at.asked(CREATE) > 0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    run = await at.run(JobKind.SNAPSHOT, slot_at=slot_at, attempt=2)
    assert run.state is RunState.SUCCEEDED
    assert len(at.volume.snapshots) == 2
    assert result(run)["snapshot_id"] == at.volume.snapshots[-1].id


async def test_a_finished_one_of_an_interrupted_run_is_not_even_asked_for_again(at: Workplace) -> None:
    slot_at = at.clock.now()
    await at.run(JobKind.SNAPSHOT, slot_at=slot_at)
    run = await at.run(JobKind.SNAPSHOT, slot_at=slot_at, attempt=2)
    assert result(run)["is_coalesced"] is True
    assert at.asked(CREATE) == 1


async def test_a_conflict_means_looking_at_what_is_under_way(at: Workplace) -> None:
    at.arm(Fault(kind=FaultKind.ERROR_AFTER, action=CREATE, status=409, text="aborted: already in progress"))
    run = await at.run(JobKind.SNAPSHOT)
    assert run.state is RunState.SUCCEEDED
    assert len(at.volume.snapshots) == 2
    assert "look instead of asking again" in await at.step_names(run)


async def test_one_under_way_that_began_long_before_the_slot_is_waited_for_and_then_asked_again(at: Workplace) -> None:
    older = at.sim.world.add_snapshot(at.volume, age=20 * MINUTE)
    older.settled_status, older.is_stuck = None, True  # Fly's own, still running

    def still_busy() -> Fault:
        return Fault(kind=FaultKind.SNAPSHOT_CONFLICT, action=CREATE)

    at.arm(still_busy())
    task = asyncio.ensure_future(at.run(JobKind.SNAPSHOT))
    await until(lambda: at.asked(CREATE) > 0)
    older.settled_status = "created"
    run = await task
    assert run.state is RunState.SUCCEEDED
    assert result(run)["snapshot_id"] == at.volume.snapshots[-1].id != older.id
    assert at.asked(CREATE) == 2


async def test_conflicts_without_end_are_told(at: Workplace) -> None:
    at.arm(Fault(kind=FaultKind.SNAPSHOT_CONFLICT, action=CREATE, times=0))
    run = await at.run(JobKind.SNAPSHOT)
    assert failure(run)[0] == "fly.snapshot_failed"
    assert "did not begin" in failure(run)[1]
    assert at.asked(CREATE) == 3


@pytest.mark.parametrize("kind", [FaultKind.RESET_AFTER, FaultKind.ERROR_AFTER])
async def test_an_answer_lost_after_the_effect_makes_no_second_snapshot(at: Workplace, kind: FaultKind) -> None:
    at.arm(Fault(kind=kind, action=CREATE))
    run = await at.run(JobKind.SNAPSHOT)
    assert run.state is RunState.SUCCEEDED
    assert len(at.volume.snapshots) == 2
    assert at.asked(CREATE) == 1


@pytest.mark.parametrize("kind", [FaultKind.RESET_BEFORE, FaultKind.ERROR_BEFORE, FaultKind.HTML_502])
async def test_a_failure_before_the_effect_is_asked_again(at: Workplace, kind: FaultKind) -> None:
    at.arm(Fault(kind=kind, action=CREATE))
    run = await at.run(JobKind.SNAPSHOT)
    assert run.state is RunState.SUCCEEDED
    assert len(at.volume.snapshots) == 2
    assert at.asked(CREATE) == 2


async def test_a_fly_that_fails_every_request_ends_the_run_with_flys_error(at: Workplace) -> None:
    at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action=CREATE, times=0))
    run = await at.run(JobKind.SNAPSHOT)
    assert failure(run)[0] == "fly.unavailable"
    assert at.asked(CREATE) == 3
    assert len(at.volume.snapshots) == 1


async def test_a_refused_token_is_not_asked_again(at: Workplace) -> None:
    at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action=CREATE, status=403, text="unauthorized"))
    run = await at.run(JobKind.SNAPSHOT)
    assert failure(run)[0] == "fly.forbidden"
    assert at.asked(CREATE) == 1


async def test_an_unknown_status_is_waited_out_and_named_at_the_deadline(at: Workplace) -> None:
    at.arm(Fault(kind=FaultKind.SNAPSHOT_STATUS, action=CREATE, text="mystified"))
    began = at.clock.monotonic()
    run = await at.run(JobKind.SNAPSHOT, step=MINUTE)
    assert failure(run)[0] == "fly.snapshot_timeout"
    assert "'mystified'" in failure(run)[1]
    assert at.clock.monotonic() - began < 2 * 3600
    assert "snapshot unknown_status" in await at.step_names(run)


async def test_a_status_that_says_failed_ends_the_run(at: Workplace) -> None:
    at.arm(Fault(kind=FaultKind.SNAPSHOT_STATUS, action=CREATE, text="failed"))
    run = await at.run(JobKind.SNAPSHOT)
    assert failure(run) == ("fly.snapshot_failed", "Fly reports the snapshot as 'failed'")


async def test_a_snapshot_that_never_finishes_ends_at_the_deadline(at: Workplace) -> None:
    at.arm(Fault(kind=FaultKind.SNAPSHOT_STUCK, action=CREATE))
    began = at.clock.monotonic()
    run = await at.run(JobKind.SNAPSHOT, step=MINUTE)
    assert failure(run)[0] == "fly.snapshot_timeout"
    assert "1:00:00" in failure(run)[1]
    assert 3600 <= at.clock.monotonic() - began < 2 * 3600
    assert at.asked("snapshot.list") < 150


async def test_a_snapshot_that_takes_half_an_hour_is_waited_for(tmp_path: Path) -> None:
    slow = one_volume().model_copy(update={"snapshot_progress": Progress(polls=None, seconds=1800)})
    async with workplace(tmp_path, scenario=slow) as at:
        run = await at.run(JobKind.SNAPSHOT, step=MINUTE)
    assert run.state is RunState.SUCCEEDED


async def test_a_volume_on_an_unreachable_host_is_refused_before_anything_is_asked(at: Workplace) -> None:
    at.sim.world.set_host_status("my-crocbot", "unreachable")
    run = await at.run(JobKind.SNAPSHOT)
    assert run.state is RunState.REFUSED
    assert "host is unreachable" in failure(run)[1]
    assert at.asked(CREATE) == 0


async def test_a_volume_that_is_being_destroyed_is_refused(at: Workplace) -> None:
    at.volume.state = "pending_destroy"
    run = await at.run(JobKind.SNAPSHOT)
    assert run.state is RunState.REFUSED
    assert "pending_destroy" in failure(run)[1]
    assert at.asked(CREATE) == 0


async def test_without_hooks_the_machine_is_not_even_read(at: Workplace) -> None:
    at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action="machine.get", times=0))
    run = await at.run(JobKind.SNAPSHOT)
    assert run.state is RunState.SUCCEEDED


async def test_an_old_slot_is_fulfilled_by_a_newer_snapshot_only(at: Workplace) -> None:
    """The volume's snapshot is 6 h old: it fulfils a slot of 7 h ago, not one of 5 h ago."""
    fulfilled = await at.run(JobKind.SNAPSHOT, slot_at=at.clock.now() - 7 * HOUR)
    asked = await at.run(JobKind.SNAPSHOT, slot_at=at.clock.now() - 5 * HOUR)
    assert result(fulfilled)["is_coalesced"] is True
    assert result(asked)["is_coalesced"] is False
    assert at.asked(CREATE) == 1

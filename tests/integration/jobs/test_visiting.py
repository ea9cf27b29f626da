"""Visits by a worker machine: whatever happens the machine goes, and the volume stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from flykeep.domain.errors import FlyCapacityError, FlyUnavailableError, RefusalError, WorkerError
from flykeep.domain.ids import MachineId
from flykeep.domain.scratch import WORKER_GUESTS, machine_name
from flykeep.jobs.context import TargetWork
from flykeep.jobs.scratch import Errand
from flykeep.jobs.visiting import FREE, STILL_HELD
from flykeep.ports.scratch import OWNER_KEY
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.scratch_world import DiedError
from tests.integration.jobs.visit_world import VisitParts

ERRAND = Errand("/restored", ("stand",))
_MOST_MOMENTS = 200


@pytest.fixture
def made(parts: Parts) -> VisitParts:
    return VisitParts(parts)


def assert_only_the_volume_is_left(made: VisitParts) -> None:
    assert made.world.servers == {}
    assert [(one.id, one.attached_machine_id) for one in made.world.volumes.values()] == [("vol_new", None)]


async def visited(made: VisitParts) -> list[str]:
    work = await made.work()
    async with made.visitor.visit(work.journal, made.the_volume, ERRAND) as machine:
        assert machine.is_started
        assert [(mount.volume_id, mount.path) for mount in machine.mounts] == [("vol_new", "/restored")]
    return await made.names(work)


async def test_a_visit_ends_with_the_volume_free_and_nothing_else_left(made: VisitParts) -> None:
    made.world.polls = 3
    assert await visited(made) == ["scratch", "scratch machine made", "scratch removed", FREE]
    assert made.world.polls == 0
    assert_only_the_volume_is_left(made)


async def test_a_volume_that_is_still_being_restored_is_waited_for_and_not_for_ever(made: VisitParts) -> None:
    made.world.stays = "hydrating"
    await visited(made)
    made.world.stays = "restoring"
    with pytest.raises(FlyUnavailableError, match="still 'restoring'"):
        await visited(made)
    assert_only_the_volume_is_left(made)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"attached_machine_id": MachineId("m_1")}, "machine m_1 holds it"), ({"state": "pending_destroy"}, "pending")],
)
async def test_a_volume_that_is_in_use_or_going_is_refused_before_anything_is_made(
    made: VisitParts, change: dict[str, object], words: str
) -> None:
    made.world.volumes["vol_new"] = replace(made.the_volume, **change)  # type: ignore[arg-type]
    made.world.stays = change.get("state")  # type: ignore[assignment]
    with pytest.raises(RefusalError, match=words):
        await visited(made)
    assert made.world.asked == []


async def test_guest_sizes_are_walked_on_the_volumes_host(made: VisitParts) -> None:
    sizes = [size.memory_mb for size in WORKER_GUESTS]
    made.world.no_room = {("fra", sizes[0])}
    await visited(made)
    assert made.world.asked[-1] == ("fra", sizes[1])
    made.world.no_room = {("fra", size) for size in sizes}
    with pytest.raises(FlyCapacityError, match="host has no room"):
        await visited(made)
    assert_only_the_volume_is_left(made)


async def test_two_visits_of_one_run_and_a_scratch_before_them_never_use_a_name_twice(made: VisitParts) -> None:
    work = await made.work()
    await work.journal.step("scratch", kind="volume", app="flykeep-scratch", name="fk_x_2")
    await work.journal.step("scratch removed")
    names = []
    for _ in range(2):
        async with made.visitor.visit(work.journal, made.the_volume, ERRAND) as machine:
            names.append(machine.name)
    assert names == [machine_name(work.run.id, 3), machine_name(work.run.id, 4)]


async def test_what_fails_during_a_visit_is_told_and_not_what_comes_after(made: VisitParts) -> None:
    work = await made.work()
    made.world.polls = 10_000
    with pytest.raises(WorkerError, match="it died"):
        async with made.visitor.visit(work.journal, made.the_volume, ERRAND):
            raise WorkerError("it died")
    assert STILL_HELD in await made.names(work)
    assert made.world.servers == {}


@pytest.mark.parametrize("is_silent", [True, False])
async def test_a_volume_that_is_not_let_go_is_said(made: VisitParts, is_silent: bool) -> None:
    made.world.polls, made.world.is_deaf_to_looks = 10_000, is_silent
    with pytest.raises(FlyUnavailableError, match="still says that the volume is attached"):
        await visited(made)


async def test_a_machine_that_does_not_start_is_removed(made: VisitParts) -> None:
    made.world.starts = False
    with pytest.raises(FlyUnavailableError, match="did not start within"):
        await visited(made)
    assert_only_the_volume_is_left(made)


async def test_cancelling_removes_the_machine_and_waits_for_nothing_more(made: VisitParts) -> None:
    work, inside = await made.work(), asyncio.Event()
    made.world.polls = 10_000

    async def stay() -> None:
        async with made.visitor.visit(work.journal, made.the_volume, ERRAND):
            inside.set()
            await asyncio.Event().wait()

    visit = asyncio.create_task(stay())
    await inside.wait()
    visit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await visit
    assert made.world.servers == {}
    assert {FREE, STILL_HELD}.isdisjoint(await made.names(work))


async def test_a_process_that_dies_at_any_moment_leaves_the_volume_and_reconcile_removes_the_machine(
    made: VisitParts,
) -> None:
    died_with_something = 0
    for at in range(1, _MOST_MOMENTS):
        work = await made.work()
        made.reaper.at, made.reaper.seen = at, 0
        is_over = await visited_to_its_end(made, work)
        made.reaper.at = None
        if is_over:
            break
        died_with_something += bool(made.world.servers)
        foreign = made.world.machine(machine_name(work.run.id, 1), metadata={OWNER_KEY: "another"})
        await made.reconcile.reconcile(is_applied=True)
        assert set(made.world.servers) == {foreign.id}, at
        del made.world.servers[foreign.id]
        assert_only_the_volume_is_left(made)
    assert at > 10
    assert died_with_something > 3


async def visited_to_its_end(made: VisitParts, work: TargetWork) -> bool:
    try:
        async with made.visitor.visit(work.journal, made.the_volume, ERRAND):
            pass
    except DiedError:
        return False
    return True

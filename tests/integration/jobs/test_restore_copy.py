"""Copies into another app: whole or gone, whatever answers are lost and whenever the process dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flykeep.domain.errors import (
    ConfigError,
    FlyCapacityError,
    FlyError,
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyNameTakenError,
    FlyNotFoundError,
    FlyPreconditionError,
    FlyUnavailableError,
    IntegrityError,
    NotFoundError,
    RefusalError,
)
from flykeep.domain.ids import LineageId, SnapshotId
from flykeep.domain.policy import JobKind
from flykeep.domain.probes import ProbeOutcome
from flykeep.domain.run import RunState
from flykeep.jobs.context import TargetWork
from flykeep.jobs.copy_steps import COPIED, LEFT_BEHIND, REMOVED
from flykeep.ports.catalog import RecordedSnapshot
from flykeep.testing.memory_platform import MemoryFault
from tests.full import full
from tests.integration.jobs.copy_world import STAGING, CopyParts
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.scratch_world import DiedError

CONFIG = {
    "image": "registry.fly.io/my-crocbot@sha256:00",
    "mounts": [{"volume": "vol_1", "path": "/data"}],
    "metadata": {"fly_process_group": "app"},
}
_MOST_MOMENTS = 300


@pytest.fixture
def made(parts: Parts) -> CopyParts:
    made = CopyParts(parts)
    made.source.the_machine = replace(made.source.the_machine, name="calm-sea-1", config_json=json.dumps(CONFIG))
    return made


async def copied(made: CopyParts, **asked: Any) -> tuple[RunState, dict[str, Any], TargetWork]:
    work = await made.work(**asked)
    outcome = await made.job.run(work)
    return outcome.state, json.loads(outcome.result_json), work


async def test_a_snapshot_is_in_a_volume_of_its_mounts_name_and_nothing_else_is_left(made: CopyParts) -> None:
    state, result, work = await copied(made)
    assert (state, result["volume_name"], result["report"]["files"]) == (RunState.SUCCEEDED, "crocbot_data", 3)
    assert made.volumes() == {result["volume_id"]: "whole"}
    assert made.machines() == []
    assert made.source.changes == []
    assert COPIED in await made.names(work)


async def test_an_artifact_is_filled_in(made: CopyParts) -> None:
    export_id = await exported(made)
    _, result, _ = await copied(made, export_id=export_id, snapshot_id=None)
    assert made.volumes() == {result["volume_id"]: ""}
    assert made.asking.seen[-1].restore is not None
    assert result["report"]["compared_with"] == export_id


async def exported(made: CopyParts) -> str:
    made.parts.identity = "AGE-SECRET-KEY-1PLANTED"
    await made.work()
    await made.parts.export.run(await made.work(kind=JobKind.EXPORT))
    async with made.parts.catalog.transaction() as tx:
        return (await tx.artifacts())[0].export_id


async def test_without_workers_a_snapshot_is_waited_for_and_not_for_ever(made: CopyParts) -> None:
    made.has_workers = False
    made.there.looks_until_usable = 3
    _, result, _ = await copied(made)
    assert result["report"] is None
    made.there.looks_until_usable = 10_000
    with pytest.raises(FlyUnavailableError, match="still 'restoring'"):
        await copied(made)
    assert set(made.volumes()) == {result["volume_id"]}


async def test_probes_that_fail_are_told_and_the_copy_is_kept(made: CopyParts) -> None:
    outcome = ProbeOutcome("json a", is_passed=False, detail="a is missing")
    made.asking.result = replace(made.asking.result, probes=(outcome,))
    state, result, _ = await copied(made)
    assert (state, result["flaws"]) == (RunState.DEGRADED, ["json a: a is missing"])
    assert len(made.volumes()) == 1


async def test_what_is_not_the_artifact_is_removed(made: CopyParts) -> None:
    export_id = await exported(made)
    made.asking.errors = [IntegrityError("not what was written")]
    with pytest.raises(IntegrityError):
        await copied(made, export_id=export_id)
    assert (made.volumes(), made.machines()) == ({}, [])


# the machine


async def test_a_machine_is_made_and_not_started_unless_it_is_asked_for(made: CopyParts) -> None:
    _, result, _ = await copied(made, is_with_config=True)
    (machine,) = made.machines()
    assert (machine.name, machine.state, machine.volume_id) == ("calm-sea-1", "created", result["volume_id"])
    _, result, _ = await copied(made, is_with_config=True, is_launching=True)
    assert made.there.servers[result["machine"]["machine_id"]].state == "started"


async def test_a_machine_that_does_not_start_is_a_flaw(made: CopyParts) -> None:
    made.there.looks_until_started = 2
    made.there.watchers.append(lambda call, is_after: slow_down(made) if call == "make_machine" else None)
    state, result, _ = await copied(made, is_with_config=True, is_launching=True)
    assert state is RunState.DEGRADED
    assert "did not start within" in result["flaws"][0]


def slow_down(made: CopyParts) -> None:
    made.there.looks_until_started = 10_000


async def test_a_name_that_is_taken_is_varied_and_that_is_said(made: CopyParts) -> None:
    made.there.are_names_unique = True
    other = made.there.add_volume("other", contents="theirs", app=STAGING)
    made.there.add_machine("calm-sea-1", other)
    _, result, work = await copied(made, is_with_config=True)
    assert result["machine"]["name"] == f"calm-sea-1-{work.run.id.lower()[-6:]}"
    assert "has a machine calm-sea-1 already" in result["notes"][-1]
    made.there.faults = [MemoryFault("make_machine", FlyNameTakenError("taken"), times=0)]
    state, result, _ = await copied(made, is_with_config=True)
    assert (state, result["machine"]) == (RunState.DEGRADED, None)


async def test_a_complete_copy_outlives_a_machine_that_cannot_be_made(made: CopyParts) -> None:
    made.there.faults = [MemoryFault("make_machine", FlyCapacityError("no room"))]
    state, result, _ = await copied(made, is_with_config=True)
    assert (state, result["machine"], len(made.volumes())) == (RunState.DEGRADED, None, 1)
    assert "could not be made: no room" in result["flaws"][0]


# lost answers


@pytest.mark.parametrize("call", ["make_volume", "make_machine"])
async def test_a_creation_whose_answer_is_lost_is_found_and_not_sent_again(made: CopyParts, call: str) -> None:
    other = made.there.add_volume("other", contents="theirs", app=STAGING)
    theirs = made.there.add_machine("theirs", other)
    made.there.faults = [MemoryFault(call, FlyUnavailableError("no answer"), is_after=True)]
    state, result, _ = await copied(made, is_with_config=True)
    assert state is RunState.SUCCEEDED
    assert set(made.volumes()) == {result["volume_id"], other.volume.id}
    assert [one.id for one in made.machines()] == [theirs.id, result["machine"]["machine_id"]]
    assert made.there.calls.count(call) == 1


async def test_a_machine_that_is_not_found_again_takes_the_copy_with_it(made: CopyParts) -> None:
    made.there.faults = [MemoryFault("make_machine", FlyUnavailableError("no answer"))]
    with pytest.raises(FlyUnavailableError):
        await copied(made, is_with_config=True)
    assert (made.volumes(), made.machines()) == ({}, [])


async def test_a_volume_that_is_not_found_again_is_looked_for_by_reconcile(made: CopyParts) -> None:
    made.there.faults = [MemoryFault("make_volume", FlyUnavailableError("no answer"))]
    work = await made.work()
    with pytest.raises(FlyUnavailableError):
        await made.job.run(work)
    assert LEFT_BEHIND in await made.names(work)
    await made.work()
    (left,) = (await made.reconcile.reconcile(is_applied=True)).copies
    assert "may still appear" in left.action
    late = made.there.add_volume("crocbot_data", contents="whole", size_gb=3, app=STAGING)
    (left,) = (await made.reconcile.reconcile(is_applied=False)).copies
    assert f"{late.volume.id} may be the copy" in left.action
    del made.there.disks[late.volume.id]
    await made.parts.clock.advance(timedelta(minutes=11))
    assert [left.action for left in (await made.reconcile.reconcile(is_applied=False)).copies] == ["remove"]
    await made.reconcile.reconcile(is_applied=True)
    assert (await made.reconcile.reconcile(is_applied=True)).copies == ()


async def test_a_volume_that_was_only_found_is_never_deleted(made: CopyParts) -> None:
    made.there.faults = [MemoryFault("make_volume", FlyUnavailableError("no answer"), is_after=True)]
    made.asking.errors = [IntegrityError("not what was written")]
    with pytest.raises(IntegrityError):
        await copied(made)
    assert len(made.volumes()) == 1
    await made.work()
    (left,) = (await made.reconcile.reconcile(is_applied=True)).copies
    assert "looks like the copy" in left.action
    assert len(made.volumes()) == 1


# refusals


@pytest.mark.parametrize("error", [FlyForbiddenError("not yours"), FlyInvalidRequestError("no"), FlyNotFoundError("?")])
async def test_a_snapshot_that_fly_does_not_give_to_another_app_is_refused(made: CopyParts, error: FlyError) -> None:
    made.there.faults = [MemoryFault("make_volume", error)]
    work = await made.work()
    with pytest.raises(RefusalError, match="makes no volume of this snapshot") as refused:
        await made.job.run(work)
    assert "--artifact latest --to APP" in refused.value.next_step
    assert REMOVED in await made.names(work)
    assert (await made.reconcile.reconcile(is_applied=True)).copies == ()


async def test_other_refusals_of_a_volume_are_what_they_are(made: CopyParts) -> None:
    made.there.full_regions = {"fra"}
    with pytest.raises(FlyCapacityError):
        await copied(made)
    made.there.full_regions = set()
    export_id = await exported(made)
    made.there.faults = [MemoryFault("make_volume", FlyForbiddenError("not yours"))]
    with pytest.raises(FlyForbiddenError):
        await copied(made, export_id=export_id)


async def test_what_is_not_there_is_refused_before_anything_is_made(made: CopyParts) -> None:
    with pytest.raises(RefusalError, match="names no other app"):
        await copied(made, to_app=None)
    with pytest.raises(NotFoundError, match="has no snapshot vs_none"):
        await copied(made, snapshot_id=SnapshotId("vs_none"))
    with pytest.raises(NotFoundError, match="there is no artifact X"):
        await copied(made, export_id="X")
    made.there.app_names.clear()
    with pytest.raises(RefusalError, match="there is no app staging"):
        await copied(made)
    assert "make_volume" not in made.there.calls


async def test_an_artifact_that_cannot_be_opened_or_seen_is_refused_before_anything_is_made(made: CopyParts) -> None:
    export_id = await exported(made)
    made.parts.identity = None
    with pytest.raises(ConfigError):
        await copied(made, export_id=export_id)
    made.parts.identity = "AGE-SECRET-KEY-1PLANTED"
    made.hidden = frozenset({"shelf", "offsite"})
    with pytest.raises(RefusalError, match="does not have"):
        await copied(made, export_id=export_id)
    made.has_workers = False
    with pytest.raises(RefusalError, match="cannot be copied here"):
        await copied(made, export_id=export_id)
    assert "make_volume" not in made.there.calls


# a source that does not answer


async def remember(made: CopyParts, *, lineage_id: LineageId | None = None) -> None:
    source = made.source
    async with made.parts.catalog.transaction() as tx:
        known = RecordedSnapshot(
            lineage_id or made.parts.lineage.id,
            source.the_volume.id,
            source.the_volume.app,
            source.rows[0],
            made.parts.clock.now(),
        )
        await tx.record_snapshot(known)


async def test_a_source_that_is_gone_is_copied_from_what_is_remembered(made: CopyParts) -> None:
    await exported(made)
    await remember(made)
    async with made.parts.catalog.transaction() as tx:
        lineage = made.parts.lineage
        assert lineage.machine_id is not None
        config = json.dumps(CONFIG)
        await tx.save_machine_config(
            lineage.machine_id, lineage_id=lineage.id, config_json=config, now=made.parts.clock.now()
        )
    made.source.is_silent = True
    _, result, _ = await copied(made, is_with_config=True)
    assert result["machine"]["name"] == made.parts.lineage.machine_name
    made.parts.lineage = replace(made.parts.lineage, machine_id=None)
    await copied(made, is_with_config=True)


async def test_a_region_that_nobody_knows_is_not_guessed(made: CopyParts) -> None:
    await remember(made)
    made.source.is_silent = True
    with pytest.raises(RefusalError, match="in which region"):
        await copied(made)


# removal


async def test_cancelling_twice_removes_everything_before_it_is_passed_on(made: CopyParts) -> None:
    made.asking.hold, removing, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    delete_volume = made.there.delete_volume

    async def slowly(app: Any, volume_id: Any) -> None:
        removing.set()
        await go_on.wait()
        await delete_volume(app, volume_id)

    there: Any = made.there
    there.delete_volume = slowly
    work = await made.work()
    copy = asyncio.create_task(made.job.run(work))
    await made.asking.began.wait()
    copy.cancel()
    await removing.wait()
    copy.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await copy
    assert (made.machines(), made.volumes()) == ([], {})
    assert (await made.names(work))[-1] == REMOVED


async def died_with_a_machine(made: CopyParts) -> TargetWork:
    """A process that died right after the machine of its copy was made."""
    work = await made.work(is_with_config=True)
    made.there.watchers.append(lambda call, is_after: die(made) if (call, is_after) == ("make_machine", True) else None)
    with pytest.raises(DiedError):
        await made.job.run(work)
    made.there.watchers.clear()
    made.reaper.at = None
    await made.work()
    return work


def die(made: CopyParts) -> None:
    made.reaper.at = made.reaper.seen
    made.reaper.moment()


async def test_what_somebody_uses_by_now_or_will_not_go_is_kept(made: CopyParts) -> None:
    await died_with_a_machine(made)
    (machine,) = made.machines()
    machine.name = "renamed"
    (left,) = (await made.reconcile.reconcile(is_applied=True)).copies
    assert "uses the volume by now" in left.action
    machine.name = "calm-sea-1"
    made.there.faults = [MemoryFault("delete_volume", FlyPreconditionError("bound"), times=0)]
    (left,) = (await made.reconcile.reconcile(is_applied=True)).copies
    assert left.action == "kept: bound"
    made.there.faults = []
    assert [left.action for left in (await made.reconcile.reconcile(is_applied=True)).copies] == ["remove"]
    assert made.volumes() == {}


async def test_a_machine_that_stays_or_is_forgotten_while_it_is_waited_for(made: CopyParts) -> None:
    await died_with_a_machine(made)
    made.there.faults = [MemoryFault("destroy_machine", FlyUnavailableError("no answer"))]
    assert [left.action for left in (await made.reconcile.reconcile(is_applied=True)).copies] == ["kept: no answer"]
    (machine,) = made.machines()
    there: Any = made.there
    there.destroy_machine = nothing
    (left,) = (await made.reconcile.reconcile(is_applied=True)).copies
    assert left.action == "kept: the machine is still there"
    machine.state = "destroying"
    made.there.faults = [MemoryFault("wait_for_state", FlyNotFoundError("gone"), times=0)]
    machine.state = "started"
    del there.destroy_machine
    await made.reconcile.reconcile(is_applied=True)
    assert made.volumes() == {}


async def nothing(*_given: Any, **_named: Any) -> None:
    """A Fly that does as if."""


async def test_a_machine_on_its_way_out_is_left_to_go(made: CopyParts) -> None:
    await died_with_a_machine(made)
    (machine,) = made.machines()
    machine.state = "destroyed"
    machine_list = made.there.machines

    async def with_gone(app: Any) -> Any:
        return (*await machine_list(app), replace(machine.facts(), state="destroying"))

    there: Any = made.there
    there.machines = with_gone
    await made.remover.sweep((), is_applied=True)
    assert made.volumes() == {}


async def test_an_app_that_is_gone_took_the_copy_with_it(made: CopyParts) -> None:
    await died_with_a_machine(made)
    made.there.app_names.clear()
    assert [left.action for left in (await made.reconcile.reconcile(is_applied=True)).copies] == ["remove"]
    assert (await made.reconcile.reconcile(is_applied=True)).copies == ()


async def test_when_the_process_dies_reconcile_leaves_nothing_of_an_unfinished_copy(made: CopyParts) -> None:
    await dies(made, every=5)


@full("every moment of a copy")
async def test_whenever_the_process_dies_reconcile_leaves_nothing_of_an_unfinished_copy(made: CopyParts) -> None:
    await dies(made, every=1)


async def dies(made: CopyParts, *, every: int) -> None:
    theirs = made.there.add_volume("crocbot_data", contents="theirs", size_gb=3, app=STAGING)
    made.there.add_machine("theirs", theirs)
    died_with_something = 0
    for at in range(1, _MOST_MOMENTS, every):
        work = await made.work(is_with_config=True)
        made.reaper.at, made.reaper.seen = at, 0
        await done(made, work)
        made.reaper.at = None
        died_with_something += len(made.volumes()) > 1
        await made.work()
        await made.reconcile.reconcile(is_applied=True)
        if COPIED in await made.names(work):
            assert len(made.volumes()) == 2
            break
        lost = {key for key, held in made.volumes().items() if held != "theirs"}
        assert not lost or is_unsure(await made.names(work)), f"died at {at}"
        for one in lost:
            made.there.disks.pop(one)
        assert [server.name for server in made.machines()] == ["theirs"]
    else:
        pytest.fail("a copy has more moments than were tried")
    assert died_with_something > 5


def is_unsure(steps: list[str]) -> bool:
    """Whether the process died between a volume's creation and its answer: a person must look."""
    return steps[-1] == "copy volume"


async def done(made: CopyParts, work: TargetWork) -> None:
    with contextlib.suppress(DiedError):
        await made.job.run(work)

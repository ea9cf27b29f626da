"""Imports as a job: what is journalled, what is undone, and what the next process makes of a dead one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from flykeep.domain.errors import (
    BusyError,
    FlyError,
    FlykeepError,
    NotFoundError,
    RefusalError,
    SshError,
    UsageError,
)
from flykeep.domain.fly import MachineCheck
from flykeep.domain.ids import ExportId, LineageId, RunId
from flykeep.domain.imports import ImportPhase
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, Run, RunRequest, RunState, Slot
from flykeep.jobs.context import Journal, TargetWork
from flykeep.jobs.import_log import OpenImports
from flykeep.jobs.import_moving import Location
from flykeep.ports.importing import Placed, PlaceResult
from tests.full import IS_FULL, full
from tests.integration.jobs.import_world import LOST, UNKNOWN, ImportParts
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.scratch_world import DiedError, Reaper
from tests.unit.domain.builders import artifact

FILE = RunRequest(file="/home/me/backup.tar.gz")
PASSING, FAILING = MachineCheck("http", "passing"), MachineCheck("http", "critical", "refused")


@pytest.fixture
async def made(parts: Parts) -> ImportParts:
    async with parts.catalog.transaction() as tx:
        await tx.save_lineage(parts.lineage)
    return ImportParts(parts)


async def begun(made: ImportParts, request: RunRequest = FILE) -> Run:
    return await made.parts.claimed(kind=JobKind.IMPORT, request=request)


async def executed(made: ImportParts, run: Run) -> Outcome:
    work = TargetWork(run, made.parts.lineage, made.parts.rule, Journal(run, made.catalog, made.parts.clock))
    try:
        outcome = await made.job.run(work)
    except FlykeepError:
        await ended(made, run, Outcome(RunState.FAILED))
        raise
    await ended(made, run, outcome)
    return outcome


async def ended(made: ImportParts, run: Run, outcome: Outcome) -> None:
    async with made.parts.catalog.transaction() as tx:
        await tx.finish(run.id, outcome=outcome, now=made.parts.clock.now())


async def imported(made: ImportParts, request: RunRequest = FILE) -> tuple[Run, dict[str, Any]]:
    run = await begun(made, request)
    outcome = await executed(made, run)
    return run, json.loads(outcome.result_json) | {"state": outcome.state}


async def ending(made: ImportParts, word: str, run: Run, **changes: Any) -> dict[str, Any]:
    _, result = await imported(made, RunRequest(ending=word, of_run=run.id, **changes))
    return result


async def names(made: ImportParts, run: Run) -> list[str]:
    return [step.name for step in await made.parts.steps(run)]


async def test_every_step_is_journalled_before_it_is_taken(made: ImportParts) -> None:
    run, result = await imported(made)

    assert await names(made, run) == ["plan", "import: staging", "compared", "import: moving", "import: moved"]
    assert (result["phase"], result["files"], result["import_id"]) == ("moved", 1, run.id)
    assert (made.machine.volume.content, made.machine.restarts, made.machine.lease) == ("new", 1, None)


async def test_a_failure_before_the_move_removes_what_was_staged(made: ImportParts) -> None:
    made.machine.errors["stage"] = LOST
    run = await begun(made)

    with pytest.raises(SshError):
        await executed(made, run)

    assert made.machine.volume.is_clean
    assert made.machine.volume.content == "old"
    assert (await names(made, run))[-1] == "import: over"


async def test_a_clean_up_that_fails_is_told_and_left_to_reconcile(made: ImportParts) -> None:
    made.machine.errors["stage"] = LOST
    run = await begun(made)
    place, made.machine.place = made.machine.place, _lost  # type: ignore[method-assign]

    with pytest.raises(SshError):
        await executed(made, run)

    assert (await names(made, run))[-1] == "left behind"
    made.machine.place = place  # type: ignore[method-assign]
    report = await made.reconcile.reconcile(is_applied=True)
    assert [(left.phase, left.action) for left in report.imports] == [("staging", "over")]
    assert made.machine.volume.is_clean


async def _lost(_order: Any) -> Any:
    raise LOST


async def test_a_move_that_stops_half_way_says_how_to_go_on_or_back(made: ImportParts) -> None:
    made.machine.errors["move"] = LOST
    run = await begun(made)

    with pytest.raises(SshError) as caught:
        await executed(made, run)

    assert f"import undo {run.id}" in caught.value.next_step
    assert made.machine.volume.content == "half"
    assert made.machine.lease is None
    result = await ending(made, "undo", run)
    assert (result["phase"], made.machine.volume.content) == ("undone", "old")


@pytest.mark.parametrize("is_asked", [True, False])
async def test_the_next_import_first_ends_what_stopped_half_way(made: ImportParts, *, is_asked: bool) -> None:
    """What had begun to move is finished, and then waits for a person's decision like any other."""
    made.machine.errors["move"] = LOST
    run = await begun(made, replace(FILE, is_restarting=is_asked))
    with pytest.raises(SshError):
        await executed(made, run)

    with pytest.raises(RefusalError, match="is moved, and its content is still kept"):
        await executed(made, await begun(made))

    assert made.machine.volume.content == "new"
    assert made.machine.restarts == is_asked


async def test_a_machine_held_at_the_last_moment_leaves_everything_as_it_was(made: ImportParts) -> None:
    run = await begun(made)
    planner_saw = made.machine.lease_holder

    async def deploys_later(app: str, machine_id: str) -> str | None:
        holder = await planner_saw(app, machine_id)
        made.machine.lease = "deploy"
        return holder

    made.machine.lease_holder = deploys_later  # type: ignore[method-assign]
    with pytest.raises(BusyError, match="held by somebody else"):
        await executed(made, run)

    assert made.machine.volume.content == "old"
    assert made.machine.volume.is_clean
    assert made.machine.lease == "deploy"


async def test_the_machine_stays_held_however_long_the_move_takes(made: ImportParts) -> None:
    made.machine.may_end.clear()

    _, result = await imported(made)

    assert result["state"] is RunState.SUCCEEDED
    assert made.machine.renewals == 2  # the first went unanswered
    assert made.machine.lease is None


async def test_a_held_machine_is_refused_before_anything_is_staged(made: ImportParts) -> None:
    made.machine.lease = "deploy"
    run = await begun(made)

    with pytest.raises(BusyError, match="held by deploy"):
        await executed(made, run)

    assert await names(made, run) == []


@pytest.mark.parametrize(
    ("checks", "health", "state"),
    [
        ([()], "started, and it has no checks", RunState.SUCCEEDED),
        ([(FAILING,), (FAILING,), (PASSING,)], "healthy", RunState.SUCCEEDED),
        ([(PASSING, FAILING)], "unhealthy", RunState.DEGRADED),
    ],
)
async def test_the_checks_decide_how_the_application_is(
    made: ImportParts, checks: list[tuple[MachineCheck, ...]], health: str, state: RunState
) -> None:
    made.machine.checks = checks

    _, result = await imported(made)

    assert (result["health"], result["state"]) == (health, state)
    assert ("http is critical: refused" in result["detail"]) == (health == "unhealthy")


@pytest.mark.parametrize(
    ("act", "error", "health"),
    [
        ("restart", UNKNOWN, "started, and it has no checks"),
        ("restart", FlyError("refused"), "not restarted"),
        ("wait", FlyError("not started"), "not restarted"),
        ("checks", FlyError("no answer"), "unhealthy"),
    ],
)
async def test_a_restart_that_fails_does_not_undo_the_import(
    made: ImportParts, act: str, error: FlyError, health: str
) -> None:
    made.machine.errors[act] = error

    _, result = await imported(made)

    assert (result["health"], made.machine.volume.content, made.machine.lease) == (health, "new", None)


async def test_without_a_restart_the_machine_is_left_running(made: ImportParts) -> None:
    run, result = await imported(made, replace(FILE, is_restarting=False))

    assert (result["health"], made.machine.restarts) == ("not restarted, as asked", 0)
    undone = await ending(made, "undo", run, is_restarting=False)
    assert (undone["health"], made.machine.restarts) == ("not restarted, as asked", 0)


async def test_a_lease_that_cannot_be_given_back_does_not_fail_the_import(made: ImportParts) -> None:
    async def refuses(_lease: object) -> None:
        raise FlyError("no")

    made.machine.release_lease = refuses  # type: ignore[method-assign,assignment]

    _, result = await imported(made)

    assert result["state"] is RunState.SUCCEEDED


async def test_confirm_and_undo_end_an_import_once(made: ImportParts) -> None:
    run, _ = await imported(made)
    assert (await ending(made, "undo", run))["phase"] == "undone"
    with pytest.raises(RefusalError, match="nothing to undo"):
        await ending(made, "undo", run)
    assert (await ending(made, "confirm", run))["phase"] == "over"
    assert made.machine.volume.is_clean
    for word in ("confirm", "undo"):
        with pytest.raises(NotFoundError):
            await ending(made, word, run)


async def test_a_check_reads_the_imports_that_are_not_over_and_whether_a_run_works_on_them(made: ImportParts) -> None:
    run, _ = await imported(made)
    assert await opened(made) == ([(run.id, ImportPhase.MOVED)], set())
    async with made.catalog.transaction() as tx:
        later = replace(run, id=RunId("later"), slot=Slot("later"), state=RunState.PENDING, ended_at=None, outcome=None)
        await tx.add_run(later)
    assert await opened(made) == ([(run.id, ImportPhase.MOVED)], {run.lineage_id})

    await ending(made, "confirm", run)
    assert (await opened(made))[0] == []


async def opened(made: ImportParts) -> tuple[list[tuple[RunId, ImportPhase]], set[LineageId]]:
    async with made.catalog.transaction() as tx:
        read = await OpenImports.read(tx)
    records = [(record.run_id, record.phase) for every in read.records.values() for record in every]
    return records, set(read.at_work)


async def test_folders_that_somebody_removed_are_told_and_no_longer_waited_for(made: ImportParts) -> None:
    run, _ = await imported(made)
    made.machine.volume.staged.clear()

    with pytest.raises(RefusalError, match="somebody removed"):
        await ending(made, "undo", run)

    await imported(made)


async def test_an_artifact_is_imported_from(made: ImportParts) -> None:
    made.artifacts.artifact = artifact("x1")
    request = RunRequest(export_id="x1")

    run, result = await imported(made, request)

    assert result["source"] == "artifact x1"
    assert made.machine.volume.staged == {run.id: "moved"}
    with pytest.raises(NotFoundError):
        await made.planner.plan(made.parts.lineage, made.parts.rule, RunRequest(export_id=ExportId("other")))


@pytest.mark.parametrize("request_", [RunRequest(), RunRequest(file="f", export_id="x")])
async def test_an_import_takes_one_source(made: ImportParts, request_: RunRequest) -> None:
    with pytest.raises(UsageError):
        await made.planner.plan(made.parts.lineage, made.parts.rule, request_)


async def test_reconcile_shows_what_it_would_do_and_keeps_what_it_cannot_reach(made: ImportParts) -> None:
    made.machine.errors["move"] = LOST
    run = await begun(made)
    with pytest.raises(SshError):
        await executed(made, run)

    shown = await made.reconcile.reconcile(is_applied=False)
    assert [(left.run_id, left.action) for left in shown.imports] == [(run.id, "moved")]
    assert made.machine.volume.content == "half"
    made.machine.lease = "deploy"
    kept = await made.reconcile.reconcile(is_applied=True)
    assert kept.imports[0].action.startswith("kept: machine m1 is held")
    made.machine.lease = None
    other = await made.parts.pending(kind=JobKind.IMPORT)
    assert (await made.reconcile.reconcile(is_applied=True)).imports[0].action.startswith("kept: another run")
    await ended(made, other, Outcome(RunState.CANCELLED))
    rule, made.parts.rule = made.parts.rule, replace(made.parts.rule, match="other/*")
    assert (await made.reconcile.reconcile(is_applied=True)).imports[0].action.startswith("kept: no target")
    made.parts.rule = rule
    assert (await made.reconcile.reconcile(is_applied=True)).imports[0].action == "moved"
    assert made.machine.volume.content == "new"
    assert not (await made.reconcile.reconcile(is_applied=True)).imports


async def test_an_import_of_a_target_nobody_knows_is_kept(made: ImportParts) -> None:
    made.parts.lineage = replace(made.parts.lineage, id=LineageId("erased"))
    run = await begun(made)
    await made.log.note(run.id, ImportPhase.MOVING, restart=True)

    report = await made.reconcile.reconcile(is_applied=True)

    assert [left.action for left in report.imports] == ["kept: its target is not known any more"]


async def test_a_removal_that_stopped_half_way_is_finished(made: ImportParts) -> None:
    run, _ = await imported(made)
    await made.log.note(run.id, ImportPhase.DROPPING)

    report = await made.reconcile.reconcile(is_applied=True)

    assert [left.action for left in report.imports] == ["over"]
    assert made.machine.volume.is_clean


async def test_what_is_kept_after_a_move_is_never_touched_by_reconcile(made: ImportParts) -> None:
    await imported(made)

    report = await made.reconcile.reconcile(is_applied=True)

    assert not report.imports
    assert not made.machine.volume.is_clean
    with pytest.raises(RefusalError, match="still kept on the volume"):
        await imported(made)


async def test_a_process_may_die_at_every_moment_of_an_import(made: ImportParts) -> None:
    """After reconcile the volume is as before or as asked, nothing half is left, and the next import succeeds.

    Every sixth moment by default, each of them in the CI.
    """
    total = await moments_of(made, FILE)
    assert total > 20
    for at in range(1, total + 1, 1 if IS_FULL else 6):
        content = await died_at(made, at, FILE)
        assert content in {"old", "new"}, at


@full("every moment of both endings")
@pytest.mark.parametrize("word", ["undo", "confirm"])
async def test_a_process_may_die_at_every_moment_of_ending_one(made: ImportParts, word: str) -> None:
    run, _ = await imported(made)
    request = RunRequest(ending=word, of_run=run.id)
    total = await moments_of(made, request)
    for at in range(1, total + 1):
        made.machine.volume.content = "old"
        again, _ = await imported(made)
        content = await died_at(made, at, RunRequest(ending=word, of_run=again.id))
        assert content == "new" if word == "confirm" else content in {"old", "new"}, at


async def moments_of(made: ImportParts, request: RunRequest) -> int:
    """How many moments one such run has; what it leaves is cleared."""
    run = await begun(made, request)
    made.reaper = Reaper()
    await executed(made, run)
    seen = made.reaper.seen
    made.reaper = Reaper()
    await cleared(made)
    return seen


async def died_at(made: ImportParts, at: int, request: RunRequest) -> str:
    """The content after a death at that moment and a reconciliation by another process."""
    run = await begun(made, request)
    made.reaper = Reaper(at)
    with pytest.raises(DiedError):
        await executed(made, run)
    made.reaper = Reaper()
    made.machine.lease = None  # Fly ends a dead process's lease by itself
    await made.reconcile.reconcile(is_applied=True)
    content = made.machine.volume.content
    assert all(state in {"moved", "undone"} for state in made.machine.volume.staged.values())
    await cleared(made)
    return content


async def cleared(made: ImportParts) -> None:
    """A person confirms what is kept, and the next import works."""
    for record in await made.log.records(made.parts.lineage.id):
        assert record.is_kept, record
        await imported(made, RunRequest(ending="confirm", of_run=record.run_id))
    assert made.machine.volume.is_clean


async def test_a_run_that_imported_nothing_cannot_be_ended(made: ImportParts) -> None:
    with pytest.raises(NotFoundError):
        await made.log.record(RunId("nobody"))


async def test_discarding_leaves_alone_what_has_begun_to_move(made: ImportParts) -> None:
    """The journal may be older than the machine: then the machine is right."""
    run = await begun(made)
    await made.log.note(run.id, ImportPhase.STAGING)

    async def moving(_order: Any) -> PlaceResult:
        return PlaceResult(Placed.MOVING)

    made.machine.place = moving  # type: ignore[method-assign]
    await made.mover.discard(Location(made.parts.fly.the_machine, "/data"), run.id)

    assert (await made.log.record(run.id)).phase is ImportPhase.MOVING

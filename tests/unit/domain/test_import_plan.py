"""Which imports are refused, with which reason and which next step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flykeep.domain.errors import BusyError, RefusalError
from flykeep.domain.fly import HostStatus
from flykeep.domain.ids import AppName, RunId
from flykeep.domain.import_plan import ImportFacts, plan_import
from flykeep.domain.imports import ImportPhase, ImportRecord, import_record, refuse_ending
from flykeep.domain.policy import Policy, TargetRule
from flykeep.domain.run import RunRequest, Step
from tests.unit.domain.builders import NOW, artifact, machine, volume

RULE = TargetRule("my-crocbot/*", Policy("standard"))
FILE = RunRequest(file="/backup.tar")
ARTIFACT = RunRequest(export_id="x1")
RUN = RunId("R1")


def facts(**changes: Any) -> ImportFacts:
    found: dict[str, Any] = {
        "volume": volume(total_bytes=1000, used_bytes=400),
        "machine": machine(mounts=("vol_1",)),
        "lease_holder": None,
        "artifact": None,
    }
    return ImportFacts(**(found | changes))


def test_a_plan_names_the_place_and_what_happens() -> None:
    plan = plan_import(RULE, FILE, facts())

    assert (plan.machine.id, plan.directory, plan.source, plan.free_bytes) == ("m1", "/data", "/backup.tar", 600)
    assert plan.reasons == (
        "all of the archive into /data of machine m1",
        "files of the same path are replaced and kept beside until you confirm; all others stay",
        "machine m1 is restarted",
    )


def test_paths_and_no_restart_are_said() -> None:
    plan = plan_import(RULE, replace(FILE, paths=("a", "b"), is_restarting=False), facts(volume=volume()))

    assert (plan.reasons[0], plan.reasons[2]) == (
        "2 paths of the archive into /data of machine m1",
        "the machine is not restarted",
    )
    assert plan.free_bytes is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"machine": None}, "no machine mounts the volume"),
        ({"machine": machine(mounts=("vol_1",), state="stopped")}, "is stopped"),
        ({"machine": machine(mounts=("vol_1",), host_status=HostStatus.UNREACHABLE)}, "host is unreachable"),
        ({"volume": volume(state="pending_destroy")}, "pending_destroy"),
        ({"machine": machine(mounts=())}, "nothing tells where"),
    ],
)
def test_where_no_file_can_go_it_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefusalError, match=reason) as caught:
        plan_import(RULE, FILE, facts(**changes))
    assert caught.value.next_step


def test_a_machine_that_a_deploy_holds_is_busy() -> None:
    with pytest.raises(BusyError, match="held by deploy"):
        plan_import(RULE, FILE, facts(lease_holder="deploy@tokens.fly.io"))


def test_an_import_that_is_still_kept_comes_first() -> None:
    kept = (ImportRecord(RUN, ImportPhase.MOVED, NOW, is_restarting=True),)
    with pytest.raises(RefusalError, match="R1 of this target is moved") as caught:
        plan_import(RULE, FILE, facts(unsettled=kept))
    assert "import undo R1" in caught.value.next_step


def test_an_artifact_that_failed_its_verification_is_refused() -> None:
    with pytest.raises(RefusalError, match="failed its last verification"):
        plan_import(RULE, ARTIFACT, facts(artifact=replace(artifact("x1"), is_failed=True)))


def test_an_artifact_larger_than_the_room_is_refused_unless_only_parts_are_wanted() -> None:
    large = artifact("x1")
    totals = replace(large.manifest.totals, content_bytes=601)
    large = replace(large, manifest=replace(large.manifest, totals=totals))

    with pytest.raises(RefusalError, match="600 bytes free, and the artifact holds 601"):
        plan_import(RULE, ARTIFACT, facts(artifact=large))
    plan_import(RULE, replace(ARTIFACT, paths=("a",)), facts(artifact=large))
    plan_import(RULE, ARTIFACT, facts(artifact=large, volume=volume()))


def test_what_speaks_against_an_artifact_is_said() -> None:
    other = artifact("x1")
    manifest = replace(other.manifest, origin=replace(other.manifest.origin, app=AppName("wiki")), is_partial=True)
    plan = plan_import(RULE, ARTIFACT, facts(artifact=replace(other, manifest=manifest), volume=volume()))

    assert plan.source == "artifact x1"
    assert "made from wiki/" in plan.reasons[-2]
    assert "never counts as a backup" in plan.reasons[-1]


def step(name: str, detail: str = "") -> Step:
    return Step(RUN, 1, name, NOW, detail)


def test_the_last_journalled_phase_counts() -> None:
    assert import_record(RUN, [step("plan", "{}")]) is None
    began = [step("plan"), step(ImportPhase.STAGING.step)]
    assert import_record(RUN, began) == ImportRecord(RUN, ImportPhase.STAGING, NOW, is_restarting=False)
    moving = [*began, step("compared"), step(ImportPhase.MOVING.step, '{"restart": true}')]
    assert import_record(RUN, moving) == ImportRecord(RUN, ImportPhase.MOVING, NOW, is_restarting=True)
    undoing = [*moving, step(ImportPhase.UNDOING.step, '{"restart": false}')]
    assert import_record(RUN, undoing) == ImportRecord(RUN, ImportPhase.UNDOING, NOW, is_restarting=False)


@pytest.mark.parametrize("phase", ImportPhase)
def test_every_phase_is_half_done_or_kept_or_over(phase: ImportPhase) -> None:
    record = ImportRecord(RUN, phase, NOW, is_restarting=True)

    assert record.is_half_done + record.is_kept + (phase is ImportPhase.OVER) == 1
    assert not ImportRecord(RUN, record.next_phase, NOW, is_restarting=True).is_half_done


@pytest.mark.parametrize(
    ("ending", "phases"),
    [
        ("undo", {ImportPhase.MOVING, ImportPhase.MOVED, ImportPhase.UNDOING}),
        ("confirm", {ImportPhase.MOVED, ImportPhase.UNDONE, ImportPhase.DROPPING}),
    ],
)
def test_an_ending_is_possible_from_its_own_phases_only(ending: str, phases: set[ImportPhase]) -> None:
    for phase in ImportPhase:
        record = ImportRecord(RUN, phase, NOW, is_restarting=True)
        if phase in phases:
            refuse_ending(ending, record)
            continue
        with pytest.raises(RefusalError, match=f"nothing to {ending}") as caught:
            refuse_ending(ending, record)
        assert "flykeep" in caught.value.next_step

import json
from dataclasses import replace
from typing import Any

import pytest

from flykeep.domain.errors import RefusalError
from flykeep.domain.fly import HostStatus
from flykeep.domain.plans import ExportPlan, SourceFacts, plan_export
from flykeep.domain.policy import CopyRule, ExportRule, Hook, Hooks, Policy, TargetRule
from flykeep.domain.run import RunRequest
from tests.unit.domain.builders import machine, volume

RULE = TargetRule("my-crocbot/*", Policy("standard", copies=(CopyRule("offsite"), CopyRule("shelf"))))
MACHINE = machine(mounts=("vol_1",))


def plan(**changes: Any) -> ExportPlan:
    given: dict[str, Any] = {"rule": RULE, "volume": volume(), "machine": MACHINE, "request": RunRequest()} | changes
    return plan_export(given.pop("rule"), **given)


def test_a_whole_volume_is_read_from_where_its_machine_mounts_it() -> None:
    made = plan(volume=volume(used_bytes=5))
    assert (made.source, made.directory, made.stores, made.expected_bytes) == ("ssh", "/data", ("offsite", "shelf"), 5)
    assert not made.is_partial
    assert made.reasons[1] == "the whole volume"


def test_chosen_paths_say_nothing_of_the_size_and_make_a_partial_artifact() -> None:
    made = plan(volume=volume(used_bytes=5), request=RunRequest(paths=("logs/**",), source="ssh"))
    assert (made.include, made.expected_bytes, made.is_partial) == (("logs/**",), None, True)
    assert made.reasons == ("ssh: asked for", "1 paths asked for")


def test_the_targets_own_paths_are_not_partial_even_when_a_person_names_them() -> None:
    rule = replace(RULE, include=("a", "b"))
    assert not plan(rule=rule).is_partial
    assert not plan(rule=rule, request=RunRequest(paths=("a", "b"))).is_partial


def test_a_mount_that_fly_does_not_tell_is_taken_from_the_configuration() -> None:
    assert plan(rule=replace(RULE, mount="/srv"), machine=machine()).directory == "/srv"
    assert plan(rule=replace(RULE, mount="/data/")).directory == "/data"


REFUSED = {
    "an export from a snapshot": ({"request": RunRequest(source="snapshot")}, "no image is configured"),
    "a policy that wants snapshots read": (
        {"rule": replace(RULE, policy=replace(RULE.policy, export=ExportRule(source="snapshot")))},
        "no image is configured",
    ),
    "no store": ({"rule": TargetRule("*", Policy("bare"))}, "names no store"),
    "a volume that is leaving": ({"volume": volume(state="pending_destroy")}, "the volume is pending_destroy"),
    "no machine": ({"machine": None}, "no machine mounts"),
    "a stopped machine": ({"machine": replace(MACHINE, state="stopped")}, "machine m1 is stopped"),
    "a machine's sick host": ({"machine": replace(MACHINE, host_status=HostStatus.UNREACHABLE)}, "unreachable"),
    "a volume's sick host": ({"volume": volume(host_status=HostStatus.UNREACHABLE)}, "unreachable"),
    "another mount": ({"rule": replace(RULE, mount="/srv")}, "the configuration says /srv"),
    "no mount": ({"machine": machine()}, "nothing tells where"),
}


@pytest.mark.parametrize(("changes", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused_with_a_next_step(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefusalError, match=reason) as refused:
        plan(**changes)
    assert refused.value.next_step


WORKERS = SourceFacts(has_workers=True)
TOO_BIG = SourceFacts(has_workers=True, obstacle="it is too big")
TORN = replace(TOO_BIG, open_databases=("app.db-wal",))
FREEZING = replace(RULE, hooks=Hooks(before_export=Hook(("freeze",), makes_consistent=True)))


def of_autostop(word: object) -> Any:
    return replace(MACHINE, config_json=json.dumps({"services": [{"autostop": word}]}))


def test_a_snapshot_is_chosen_where_workers_can_be_had_and_the_reason_is_said() -> None:
    made = plan(facts=WORKERS)
    assert (made.source, made.reasons[0]) == (
        "snapshot",
        "snapshot: it leaves production alone and is of one point in time",
    )


@pytest.mark.parametrize("attached", [None, replace(MACHINE, state="stopped"), replace(MACHINE, state="suspended")])
def test_a_snapshot_needs_no_running_machine(attached: Any) -> None:
    assert plan(facts=WORKERS, machine=attached, request=RunRequest(source="snapshot")).machine == attached


def test_asking_for_nothing_in_particular_leaves_the_choice_to_the_policy() -> None:
    rule = replace(RULE, policy=replace(RULE.policy, export=ExportRule(source="ssh")))
    assert plan(rule=rule, facts=WORKERS, request=RunRequest(source="auto")).source == "ssh"
    assert plan(rule=rule, facts=WORKERS, request=RunRequest(source="snapshot")).source == "snapshot"


def test_without_workers_ssh_is_chosen_and_the_reason_is_said() -> None:
    assert plan(machine=of_autostop("stop")).reasons[0] == "ssh: without [worker] image no snapshot can be read"


@pytest.mark.parametrize("word", [None, False, "off"])
def test_an_obstacle_makes_it_ssh_where_nothing_speaks_against_that(word: object) -> None:
    assert plan(facts=TOO_BIG, machine=of_autostop(word)).reasons[0] == "ssh: it is too big"


@pytest.mark.parametrize("word", [True, "stop", "suspend"])
def test_a_machine_that_may_stop_by_itself_is_not_chosen_for_ssh(word: object) -> None:
    with pytest.raises(RefusalError, match=r"too big.*may stop machine m1"):
        plan(facts=TOO_BIG, machine=of_autostop(word))
    assert plan(facts=TOO_BIG, machine=of_autostop(word), request=RunRequest(source="ssh")).source == "ssh"


def test_open_databases_are_not_chosen_for_ssh_unless_a_hook_holds_them_still() -> None:
    with pytest.raises(RefusalError, match=r"too big.*would not count.*app.db-wal"):
        plan(facts=TORN)
    assert plan(facts=TORN, rule=FREEZING).source == "ssh"


def test_a_snapshot_that_cannot_be_read_is_refused_where_it_was_asked_for() -> None:
    with pytest.raises(RefusalError, match="no snapshot can be read: it is too big"):
        plan(facts=TOO_BIG, request=RunRequest(source="snapshot"))


def test_a_snapshot_of_a_volume_that_is_leaving_is_refused() -> None:
    with pytest.raises(RefusalError, match="pending_destroy"):
        plan(facts=WORKERS, volume=volume(state="pending_destroy"))

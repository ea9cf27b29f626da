from dataclasses import replace
from typing import Any

import pytest

from flykeep.domain.errors import RefusalError
from flykeep.domain.fly import HostStatus
from flykeep.domain.plans import ExportPlan, plan_export
from flykeep.domain.policy import CopyRule, ExportRule, Policy, TargetRule
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
    "an export from a snapshot": ({"request": RunRequest(source="snapshot")}, "not available yet"),
    "a policy that wants snapshots read": (
        {"rule": replace(RULE, policy=replace(RULE.policy, export=ExportRule(source="snapshot")))},
        "not available yet",
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

"""What `fly deploy` and `fly scale` would pick, sentence by sentence of what is known of flyctl."""

import json
from typing import Any

import pytest

from flykeep.domain.fly import HostStatus, Machine, Volume
from flykeep.testing.launch_rules import Launch, deploy, free_volumes, scale_up
from tests.unit.domain.builders import machine as built_machine
from tests.unit.domain.builders import volume as built_volume

LAUNCH = Launch(source="crocbot_data", region="fra")
MANAGED = {"fly_platform_version": "v2", "fly_process_group": "app"}


def machine(id: str = "m1", *, mounts: tuple[str, ...] = ("vol_1",), metadata: Any = None, **changes: Any) -> Machine:  # noqa: A002
    config = json.dumps({"metadata": MANAGED if metadata is None else metadata})
    return built_machine(id, mounts=mounts, **({"config_json": config} | changes))


def free(id: str = "vol_2", **changes: Any) -> Volume:  # noqa: A002
    return built_volume(id, machine=None, **changes)


USED = built_volume()


def test_only_an_unattached_volume_of_the_sources_name_in_the_region_on_a_host_that_answers_is_taken() -> None:
    others = (
        USED,
        free("other_name", name="fk_scratch"),
        free("elsewhere", region="ams"),
        free("sick", host_status=HostStatus.UNREACHABLE),
        free("unsaid", host_status=HostStatus.UNKNOWN),
        free("leaving", state="pending_destroy"),
    )
    assert free_volumes(others, LAUNCH) == ()
    assert scale_up(others, LAUNCH) is None
    assert free_volumes((*others, free()), LAUNCH) == ("vol_2",)


def test_the_first_that_matches_is_taken() -> None:
    assert scale_up((free("vol_9"), free("vol_3")), LAUNCH) == "vol_9"


@pytest.mark.parametrize("state", ["stopped", "suspended", "created", "started"])
def test_a_volume_that_a_machine_still_holds_is_never_taken_whatever_the_machine_does(state: str) -> None:
    unmanaged = machine(state=state, metadata={})
    assert scale_up((USED,), LAUNCH) is None
    assert deploy((unmanaged,), (USED,), LAUNCH).taken == ()


def test_machines_of_launch_are_updated_in_place_with_the_volume_they_have() -> None:
    seen = deploy((machine(),), (USED, free()), LAUNCH)
    assert (seen.is_first, seen.updated, seen.kept, seen.taken) == (False, ("m1",), ("vol_1",), ())
    assert (seen.is_volume_made, seen.obstacles, seen.volumes) == (False, (), {"vol_1"})


def test_machines_without_the_platforms_mark_are_skipped() -> None:
    foreign = machine("m2", mounts=("vol_2",), metadata={"fly_process_group": "flykeep_kept"})
    seen = deploy((machine(), foreign), (USED, built_volume("vol_2", machine="m2")), LAUNCH)
    assert (seen.updated, seen.volumes, seen.is_first, seen.is_bluegreen_blocked) == (("m1",), {"vol_1"}, False, False)


def test_an_app_whose_active_machines_are_all_foreign_is_deployed_as_for_the_first_time() -> None:
    foreign = machine(metadata={"fly_process_group": "flykeep_kept"})
    seen = deploy((foreign,), (USED,), LAUNCH)
    assert (seen.is_first, seen.taken, seen.is_volume_made) == (True, (), True)
    assert deploy((foreign,), (USED, free()), LAUNCH).taken == ("vol_2",)


@pytest.mark.parametrize("metadata", [{}, {"fly_platform_version": "v2"}])
def test_an_active_machine_without_a_process_group_stands_in_the_way_of_bluegreen(metadata: dict[str, str]) -> None:
    assert deploy((machine(), machine("m2", mounts=(), metadata=metadata)), (USED,), LAUNCH).is_bluegreen_blocked
    gone = machine("m2", mounts=(), metadata=metadata, state="destroyed")
    assert not deploy((machine(), gone), (USED,), LAUNCH).is_bluegreen_blocked


def test_the_old_name_of_the_group_counts_and_reserved_groups_do_not_take_part() -> None:
    old = {"fly_platform_version": "v2", "process_group": "app"}
    assert deploy((machine(metadata=old),), (USED,), LAUNCH).kept == ("vol_1",)
    console = {"fly_platform_version": "v2", "fly_process_group": "fly_app_console"}
    assert deploy((machine(metadata=console),), (USED,), LAUNCH).is_first


def test_a_volume_of_another_name_than_the_mounts_makes_the_deploy_fail() -> None:
    other = built_volume(name="crocbot_restored")
    assert deploy((machine(),), (other,), LAUNCH).obstacles == (
        "machine m1 mounts crocbot_restored: can't update the attached volume",
    )


def test_a_machine_on_a_host_that_does_not_answer_needs_a_person() -> None:
    sick = machine(config_json=None, mounts=(), host_status=HostStatus.UNREACHABLE)
    assert deploy((sick,), (USED,), LAUNCH).obstacles == ("machine m1 is on a host that does not answer",)
    seen = deploy((sick,), (USED, free()), LAUNCH)
    assert (seen.is_first, seen.taken, seen.is_bluegreen_blocked) == (False, (), False)

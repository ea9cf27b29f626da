"""Copies into another app: what is planned, refused, and taken out of the machine's configuration."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.errors import RefusalError
from flykeep.domain.ids import AppName, RunId, VolumeId
from flykeep.domain.restore_copy import (
    CopyFacts,
    CopyPlan,
    artifact_source,
    derived_name,
    guest_of,
    is_the_new_one,
    plan_copy,
    snapshot_source,
)
from flykeep.domain.scratch import GuestSize
from tests.unit.domain.builders import artifact, lineage, machine, snapshot, volume

STAGING = AppName("staging")
CONFIG: dict[str, Any] = {
    "image": "registry.fly.io/my-crocbot:deployment-1",
    "guest": {"cpu_kind": "performance", "cpus": 2, "memory_mb": 4096},
    "metadata": {"fly_process_group": "app", "fly_platform_version": "v2", "fly_release_id": "r", "mine": "kept"},
    "mounts": [{"volume": "vol_1", "path": "/data", "name": "crocbot_data", "extend_threshold_percent": 80}],
    "env": {"MODE": "live"},
    "files": [{"guest_path": "/a", "secret_name": "TOKEN"}, {"guest_path": "/b", "raw_value": "eA=="}],
    "processes": [{"cmd": ["run"], "secrets": [{"env_var": "KEY"}, {"name": "OTHER"}]}, {"cmd": ["x"]}],
    "services": [{"internal_port": 80, "autostart": True}, {"internal_port": 81}],
    "schedule": "daily",
    "standbys": ["m2"],
}


def facts(**changes: Any) -> CopyFacts:
    given = CopyFacts(
        lineage=lineage(),
        app=STAGING,
        source=snapshot_source(snapshot(), region="fra"),
        live=volume(),
        config_json=json.dumps(CONFIG),
        image="registry.fly.io/my-crocbot@sha256:00",
        machine_name="calm-sea-1",
        others=(),
        volumes=(),
        has_workers=True,
    )
    return replace(given, **changes)


def planned(
    given: CopyFacts | None = None,
    *,
    size_gb: int | None = None,
    is_with_config: bool = False,
    is_launched: bool = False,
) -> CopyPlan:
    return plan_copy(given or facts(), size_gb=size_gb, is_with_config=is_with_config, is_launched=is_launched)


def config_of(plan: CopyPlan) -> dict[str, Any]:
    assert plan.machine is not None
    found: dict[str, Any] = json.loads(plan.machine.mounting(VolumeId("vol_new")))
    return found


def test_every_call_is_named_in_order() -> None:
    assert planned(is_with_config=True).calls == (
        "create volume crocbot_data in staging, fra, 3 GB, from snapshot vs_1",
        "create a worker machine in staging on it: probe it, beside the newest artifact's index; destroy that machine",
        "create machine calm-sea-1 in staging on it from the saved configuration, not launched",
    )
    one = artifact_source(artifact())
    filling = f"fill it from artifact {one.export_id}, then probe it"
    plan = planned(facts(source=one, live=None), is_with_config=True, is_launched=True)
    assert plan.calls == (
        f"create volume crocbot_data in staging, {one.region}, {one.size_gb} GB, empty",
        f"create a worker machine in staging on it: {filling}; destroy that machine",
        "create machine calm-sea-1 in staging on it from the saved configuration, and start it",
    )


@given(source_gb=st.integers(1, 500), live_gb=st.integers(1, 500))
def test_the_volume_is_as_big_as_the_snapshots_source_was_and_as_the_source_is(source_gb: int, live_gb: int) -> None:
    row = replace(snapshot(), volume_size_bytes=source_gb << 30)
    given_facts = facts(source=snapshot_source(row, region="fra"), live=volume(size_gb=live_gb))
    assert planned(given_facts).size_gb == max(source_gb, live_gb)


def test_a_size_may_be_asked_for_that_holds_the_source() -> None:
    row = replace(snapshot(), volume_size_bytes=5 << 30)
    big = facts(source=snapshot_source(row, region="fra"))
    assert planned(big, size_gb=9).size_gb == 9
    with pytest.raises(RefusalError, match="4 GB are too few: snapshot vs_1 needs 5 GB"):
        planned(big, size_gb=4)


REFUSALS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"app": AppName("my-crocbot")}, "is the target's own app"),
    ({"source": artifact_source(artifact()), "has_workers": False}, "an artifact cannot be copied here"),
    ({"config_json": None}, "no complete configuration"),
    ({"config_json": "{}"}, "mounts no volume"),
)


@pytest.mark.parametrize(("changes", "words"), REFUSALS)
def test_what_cannot_be_copied_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusalError, match=words):
        planned(facts(**changes), is_with_config=True)


def test_a_snapshot_that_is_not_finished_is_refused() -> None:
    with pytest.raises(RefusalError, match="'running'"):
        snapshot_source(snapshot(status="running"), region="fra")


def test_without_a_worker_nobody_looks_and_that_is_said() -> None:
    plan = planned(facts(has_workers=False))
    assert (plan.is_probed, len(plan.calls)) == (False, 1)
    assert "not looked at" in plan.notes[-1]


def test_what_the_other_app_mounts_keeps_its_place_and_the_way_to_change_that_is_told() -> None:
    theirs = volume("vol_theirs", app=STAGING, machine="m9")
    spare = volume("vol_spare", app=STAGING, machine=None)
    other = machine("m9", app=STAGING, mounts=("vol_theirs",), region="ams")
    notes = planned(facts(others=(other, machine("m8", app=STAGING, mounts=("vol_x",))), volumes=(theirs, spare))).notes
    assert "`fly machine clone m9 --app staging --attach-volume COPY:/data`" in notes[0]
    assert "has an unattached volume crocbot_data already" in notes[1]
    assert "machines in ams; the copy is made in fra" in notes[2]
    assert len(notes) == 3


def test_the_configuration_has_the_new_volume_a_pinned_image_and_no_secret() -> None:
    plan = planned(is_with_config=True)
    config = config_of(plan)
    assert config["mounts"] == [{**CONFIG["mounts"][0], "volume": "vol_new"}]
    assert config["image"] == "registry.fly.io/my-crocbot@sha256:00"
    assert config["files"] == [CONFIG["files"][1]]
    assert config["processes"] == [{"cmd": ["run"]}, {"cmd": ["x"]}]
    assert config["env"] == CONFIG["env"]
    assert plan.notes[0] == "left out, because they are secrets of the source app: KEY, OTHER, TOKEN"
    assert "MODE" not in repr(plan)


def test_nothing_that_names_the_source_goes_along_and_nothing_starts_by_itself() -> None:
    plan = planned(is_with_config=True)
    config = config_of(plan)
    assert config["metadata"] == {"fly_process_group": "app", "fly_platform_version": "v2", "mine": "kept"}
    assert not {"standbys", "schedule"} & config.keys()
    assert [service.get("autostart") for service in config["services"]] == [False, None]
    assert plan.notes[-1] == "left off until you start it: its schedule, autostart"


def test_a_machine_that_is_launched_keeps_its_schedule_and_autostart() -> None:
    config = config_of(planned(is_with_config=True, is_launched=True))
    assert (config["schedule"], config["services"]) == ("daily", CONFIG["services"])


def test_a_plain_configuration_needs_no_words_and_a_tag_is_told() -> None:
    plain = {"image": "app@sha256:00", "mounts": [{"volume": "vol_1", "path": "/data"}]}
    plan = planned(facts(config_json=json.dumps(plain), image=None, machine_name=None), is_with_config=True)
    assert plan.notes == ()
    assert plan.machine is not None
    assert plan.machine.name == "crocbot-data-copy"
    tagged = json.dumps(plain | {"image": "app:latest"})
    assert "named by a tag" in planned(facts(config_json=tagged, image=None), is_with_config=True).notes[0]


def test_the_volumes_host_must_have_room_for_the_machine() -> None:
    otherwise = GuestSize("shared", 1, 256)
    assert guest_of(planned(is_with_config=True).machine, otherwise) == GuestSize("performance", 2, 4096)
    assert guest_of(None, otherwise) == otherwise
    plain = json.dumps({"mounts": [{"volume": "v", "path": "/"}], "guest": {"cpus": 1}})
    assert guest_of(planned(facts(config_json=plain), is_with_config=True).machine, otherwise) == otherwise


def test_a_second_machine_of_a_name_gets_one_of_its_own() -> None:
    assert derived_name("calm-sea-1", RunId("01ABCDEF")) == "calm-sea-1-abcdef"


@pytest.mark.parametrize(
    "changes",
    [{"name": "other"}, {"region": "ams"}, {"size_gb": 4}, {"id": "vol_old"}, {"machine": "m7"}, {}],
)
def test_only_what_was_not_there_before_and_is_as_asked_may_be_the_lost_one(changes: dict[str, Any]) -> None:
    one = volume(**{"id": "vol_new", "machine": None, **changes})
    found = is_the_new_one(one, name="crocbot_data", region="fra", size_gb=3, before=("vol_old",))
    assert found is (not changes)

"""Configurations as a restore changes them, and gives them back."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.ids import MachineId, RunId, VolumeId
from flykeep.domain.restore_config import (
    KEPT_GROUP,
    fence,
    guest_size,
    image_of,
    is_fenced,
    new_machine,
    owner_run,
    pinned,
    platform_of,
    standby_moved,
    standbys_of,
    unfence,
)

LAUNCH = {"fly_platform_version": "v2", "fly_process_group": "app", "fly_release_id": "9"}
configs = st.fixed_dictionaries(
    {
        "metadata": st.dictionaries(st.sampled_from([*LAUNCH, "mine", "process_group"]), st.text(max_size=4)),
        "services": st.lists(
            st.fixed_dictionaries({"internal_port": st.integers(1, 9)}, optional={"autostart": st.booleans()}),
            max_size=3,
        ),
    },
    optional={"schedule": st.just("daily"), "standbys": st.just(["m9"]), "env": st.just({"A": "b"})},
)


@given(configs)
def test_what_a_fence_takes_is_given_back_exactly(config: dict[str, Any]) -> None:
    fenced = fence(json.dumps(config))
    assert json.loads(unfence(fenced.config_json, fenced.taken_json)) == config


@given(configs)
def test_nothing_starts_a_fenced_machine_and_no_deploy_knows_it(config: dict[str, Any]) -> None:
    found = json.loads(fence(json.dumps(config)).config_json)
    assert all(service["autostart"] is False for service in found["services"])
    assert not {"schedule", "standbys"} & found.keys()
    assert (platform_of(json.dumps(found)), found["metadata"]["fly_process_group"]) == (None, KEPT_GROUP)
    assert is_fenced(json.dumps(found))


def test_giving_back_leaves_a_group_that_somebody_set_meanwhile() -> None:
    assert json.loads(unfence('{"metadata":{"fly_process_group":"x"}}', '{"metadata":{},"autostart":[]}')) == {
        "metadata": {"fly_process_group": "x"}
    }


def test_the_new_machine_mounts_the_new_volume_and_is_not_launchs_until_it_takes_over() -> None:
    config = {"metadata": LAUNCH, "mounts": [{"volume": "vol_1", "path": "/data"}], "env": {"A": "b"}}
    made = new_machine(json.dumps(config), volume_id=VolumeId("vol_2"), run_id=RunId("r1"))
    found = json.loads(made.config_json)
    assert (made.platform, platform_of(made.config_json), owner_run(made.config_json)) == ("v2", None, "r1")
    assert found["mounts"] == [{"volume": "vol_2", "path": "/data"}]
    assert found["env"] == {"A": "b"}
    assert owner_run(None) is None


def test_an_image_is_pinned_where_its_tag_may_move() -> None:
    digest = "registry/app@sha256:00"
    images = {
        "postgres:16": digest,
        "registry.fly.io/app:deployment-01": "registry.fly.io/app:deployment-01",
        "x@sha256:11": "x@sha256:11",
    }
    for named, wanted in images.items():
        assert image_of(pinned(json.dumps({"image": named}), digest)) == wanted
    assert image_of(pinned('{"image":"postgres:16"}', None)) == "postgres:16"
    assert image_of("{}") is None


def test_standbys_follow() -> None:
    config = json.dumps({"standbys": ["m1", "m2"]})
    assert standbys_of(standby_moved(config, before=MachineId("m1"), after=MachineId("m9"))) == ("m9", "m2")
    assert standbys_of(None) == ()


def test_the_size_is_the_machines_or_the_largest_workers() -> None:
    assert guest_size('{"guest":{"cpu_kind":"performance","cpus":4,"memory_mb":8192}}').cpus == 4
    assert guest_size("{}").cpu_kind == "performance"

"""The plan of a restore: what it says before anything is done, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flykeep.domain.errors import BusyError, RefusalError
from flykeep.domain.fly import HostStatus
from flykeep.domain.ids import LineageId
from flykeep.domain.restore_phases import RestorePhase
from flykeep.domain.restore_plan import RestoreFacts, RestorePlan, RestoreSource, plan_restore
from tests.unit.domain.builders import artifact, lineage, machine, snapshot, volume
from tests.unit.domain.restores import restored

GIB = 1 << 30
CONFIG: dict[str, Any] = {
    "image": "registry.fly.io/app:deployment-1",
    "guest": {"cpu_kind": "shared", "cpus": 2, "memory_mb": 1024},
    "metadata": {"fly_platform_version": "v2"},
    "mounts": [{"volume": "vol_1", "path": "/data"}],
}


def config(**changes: Any) -> str:
    return json.dumps(CONFIG | changes)


def facts(**changes: Any) -> RestoreFacts:
    known: dict[str, Any] = {
        "lineage": lineage(),
        "source": RestoreSource(snapshot=snapshot(), owner=lineage().id),
        "volume": volume(),
        "machine": machine(mounts=("vol_1",), config_json=config()),
        "config_json": config(),
        "is_config_saved": False,
        "lease_holder": None,
        "others": (),
        "volumes": (volume(),),
        "unsettled": (),
        "has_workers": True,
    }
    return RestoreFacts(**(known | changes))


def requests(plan: RestorePlan) -> list[str]:
    return [call.request.removeprefix("POST /apps/my-crocbot/") for call in plan.calls]


def refused(known: RestoreFacts, **named: Any) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        plan_restore(known, **named)
    assert caught.value.next_step
    return caught.value


def test_every_call_is_listed_in_order_and_the_application_is_down_from_the_cordon_to_the_start() -> None:
    plan = plan_restore(facts())
    assert requests(plan) == [
        "volumes/vol_1/snapshots",
        "volumes",
        "machines",
        "DELETE /apps/my-crocbot/machines/WORKER",
        "machines",
        "machines/NEW_MACHINE/lease",
        "machines/NEW_MACHINE/cordon",
        "machines/m1/lease",
        "machines/m1/cordon",
        "machines/m1/stop",
        "machines/NEW_MACHINE/metadata/fly_platform_version",
        "machines/m1",
        "machines/NEW_MACHINE/start",
        "machines/NEW_MACHINE/uncordon",
        "DELETE /apps/my-crocbot/machines/NEW_MACHINE/metadata/flykeep_restore",
        "DELETE .../lease",
    ]
    down = [number for number, call in enumerate(plan.calls) if call.is_down]
    assert down == list(range(8, 13))
    assert (plan.guest.cpus, plan.guest.memory_mb) == (2, 1024)
    assert (plan.prepared_in, plan.down_for) == ("not measured yet", "not measured yet")
    assert "$0.45 a month" in plan.cost


def test_what_was_measured_is_said() -> None:
    plan = plan_restore(facts(restore_took=timedelta(seconds=252), down_for=timedelta(seconds=9)))
    assert plan.prepared_in.startswith("4 min 12 s")
    assert plan.down_for.startswith("9 s")


@pytest.mark.parametrize(
    ("source_gb", "volume_gb", "asked_gb", "wanted_gb"), [(2, 3, None, 3), (7, 3, None, 7), (2, 3, 9, 9)]
)
def test_the_new_volume_is_as_big_as_its_source_its_predecessor_and_the_wish(
    source_gb: int, volume_gb: int, asked_gb: int | None, wanted_gb: int
) -> None:
    shot = replace(snapshot(), volume_size_bytes=source_gb * GIB - 1)
    known = facts(source=RestoreSource(snapshot=shot), volume=volume(size_gb=volume_gb))
    assert plan_restore(known, size_gb=asked_gb).beginning.size_gb == wanted_gb


def test_sizes_that_cannot_be_are_refused() -> None:
    assert "too few" in refused(facts(), size_gb=1).message
    assert "none above" in refused(facts(), size_gb=501).message


def test_an_artifact_gets_an_empty_volume_with_room_for_it() -> None:
    kept = artifact("e1")
    plan = plan_restore(facts(source=RestoreSource(artifact=kept)))
    assert (plan.beginning.export_id, plan.beginning.snapshot_id) == ("e1", None)
    assert "empty" in plan.calls[1].what


def test_without_a_machine_nothing_is_stopped_and_a_free_old_volume_is_told_of() -> None:
    plan = plan_restore(facts(machine=None, is_config_saved=True, others=(machine("m2"),)))
    assert not [call for call in plan.calls if "m1" in call.request]
    assert any("attached to nothing" in note for note in plan.notes)
    assert plan.beginning.was_running


def test_where_volume_and_machine_are_gone_the_regions_of_the_configuration_are_tried() -> None:
    known = facts(volume=None, machine=None)
    assert "which region" in refused(known).message
    assert plan_restore(replace(known, spare_regions=("ams",))).beginning.regions == ("ams",)


def test_on_a_sick_host_no_snapshot_is_made_and_the_machine_is_not_told_anything() -> None:
    sick = machine(mounts=("vol_1",), host_status=HostStatus.UNREACHABLE, state="unknown")
    plan = plan_restore(facts(machine=sick, is_config_saved=True, has_workers=False, spare_regions=("ams",)))
    assert requests(plan)[0] == "volumes"
    assert not [call for call in plan.calls if "m1" in call.request]
    assert any("unreachable" in note for note in plan.notes)
    assert any("ams" in note for note in plan.notes)


def test_what_is_not_ready_foreign_failed_or_held_is_refused() -> None:
    foreign = LineageId("other")
    other = replace(artifact("e1"), manifest=replace(artifact("e1").manifest))
    assert "finished" in refused(facts(source=RestoreSource(snapshot=snapshot(status="running")))).message
    assert "another target" in refused(facts(source=RestoreSource(snapshot=snapshot(), owner=foreign))).message
    assert "no image" in refused(facts(source=RestoreSource(artifact=other), has_workers=False)).message
    assert "verification" in refused(facts(source=RestoreSource(artifact=artifact(is_failed=True)))).message
    origin = replace(other.manifest.origin, lineage_id=foreign, app="elsewhere")
    moved = replace(other, manifest=replace(other.manifest, origin=origin))
    assert "elsewhere" in refused(facts(source=RestoreSource(artifact=moved))).message
    assert isinstance(refused(facts(lease_holder="a deploy")), BusyError)
    assert "is restored" in refused(facts(unsettled=[restored(RestorePhase.RESTORED)])).message


def test_a_machine_that_cannot_be_made_again_or_kept_is_refused() -> None:
    assert "no complete configuration" in refused(facts(config_json=None)).message
    assert "exactly one volume" in refused(facts(config_json=config(mounts=[]))).message
    assert "destroys itself" in refused(facts(config_json=config(auto_destroy=True))).message
    assert "replacing" in refused(facts(machine=machine(state="replacing", config_json=config()))).message


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"image": "flyio/postgres-flex:16@sha256:00"}, "fly postgres create --snapshot-id vs_1"),
        ({"metadata": {"fly-managed-postgres": "true"}}, "fly postgres create"),
        ({"init": {"exec": ["litefs", "mount"]}}, "litefs import"),
        ({"env": {"LITEFS_CLOUD": "1"}}, "litefs import"),
        ({"standbys": ["m2"]}, "standby"),
    ],
)
def test_a_cluster_is_refused_with_its_own_procedure(changes: dict[str, Any], word: str) -> None:
    twin = machine("m2", mounts=("vol_2",), config_json=json.dumps({"standbys": ["m1"]}))
    known = facts(config_json=config(**changes), others=(machine("m3"), twin) if "standbys" in changes else ())
    error = refused(known)
    assert "as a whole" in error.message
    assert word in error.next_step


def test_a_machine_that_is_only_a_standbys_model_is_restored() -> None:
    standby = machine("m2", config_json=json.dumps({"standbys": ["m1"]}))
    twin = machine("m4", mounts=("vol_4",), config_json="{}")
    assert any("2 other machines" in note for note in plan_restore(facts(others=(standby, twin))).notes)

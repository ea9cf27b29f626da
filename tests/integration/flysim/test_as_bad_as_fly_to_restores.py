"""What a restore meets at Fly: leases, cordons, late volumes, hosts that come back, checks that fail."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Scenario, Seed, SnapshotSpec, VolumeSpec
from tests.integration.flysim.simulated import Rig, rig

CHECKS = {"alive": {"type": "tcp", "port": 8080, "interval": "15s", "timeout": "1m30s", "grace_period": "500ms"}}
SERVICE = {"protocol": "tcp", "internal_port": 8080, "autostart": True, "checks": [{"type": "tcp", "interval": "10s"}]}
VERBS = ("start", "stop", "suspend", "restart", "cordon", "uncordon")
BASE = "/apps/my-crocbot"


def scenario(**changes: Any) -> Scenario:
    machine = MachineSpec(name="quiet-river-1", volume="crocbot_data", checks=CHECKS, services=(SERVICE,))
    return Scenario(
        rate_limits=False,
        restore_polls=2,
        new_machine_hidden_gets=0,
        apps=(
            AppSpec(
                name="my-crocbot",
                machines=(machine,),
                volumes=(
                    VolumeSpec(
                        name="crocbot_data", size_gb=2, seed=Seed(count=1), snapshots=(SnapshotSpec(age_hours=1),)
                    ),
                ),
            ),
        ),
        **changes,
    )


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, scenario()) as made:
        yield made


async def restored_volume(fly: Rig) -> str:
    body = {"name": "crocbot_data", "region": "iad", "size_gb": 2, "snapshot_id": fly.volume.snapshots[0].id}
    made = (await fly.http.post(f"{BASE}/volumes", json=body)).json()
    return str(made["id"])


async def test_every_change_of_a_machine_is_refused_while_somebody_else_holds_it(fly: Rig) -> None:
    path = fly.machine_path
    fly.sim.world.hold_lease(fly.machine)
    config = {"image": "alpine"}
    asked = [
        await fly.http.post(path, json={"config": config}),
        await fly.http.delete(path, params={"force": "true"}),
        *[await fly.http.post(f"{path}/{verb}") for verb in VERBS],
        await fly.http.post(f"{path}/signal", json={"signal": "SIGTERM"}),
        await fly.http.post(f"{path}/exec", json={"command": ["true"]}),
        await fly.http.post(f"{path}/lease", json={"ttl": 5}),
    ]
    assert [answer.status_code for answer in asked] == [409] * len(asked)
    assert (await fly.http.post(f"{path}/metadata/key", json={"value": "v"})).status_code == 204
    assert fly.machine.state == "started"


async def test_names_of_machines_are_unique_where_the_scenario_says_so(tmp_path: Path) -> None:
    body = {"name": "quiet-river-1", "config": {"image": "alpine"}, "skip_launch": True}
    async with rig(tmp_path / "either", scenario()) as fly:
        assert (await fly.http.post(f"{BASE}/machines", json=body)).status_code == 200
    async with rig(tmp_path / "unique", scenario(unique_machine_names=True)) as fly:
        answer = await fly.http.post(f"{BASE}/machines", json=body)
        assert (answer.status_code, answer.json()["error"][:30]) == (409, "already_exists: unique machine")
        await fly.http.delete(fly.machine_path, params={"force": "true"})
        assert (await fly.http.post(f"{BASE}/machines", json=body)).status_code == 200


async def test_durations_are_read_back_as_nanoseconds_and_taken_as_texts_only(fly: Rig) -> None:
    shown = (await fly.http.get(fly.machine_path)).json()["config"]
    assert shown["stop_config"]["timeout"] == 10_000_000_000
    answer = await fly.http.post(f"{BASE}/machines", json={"config": {"image": "a"} | {"checks": CHECKS}})
    check = answer.json()["config"]["checks"]["alive"]
    assert (check["interval"], check["timeout"], check["grace_period"]) == (15 * 10**9, 90 * 10**9, 5 * 10**8)
    wrong = {"config": {"image": "a", "stop_config": {"timeout": "soon"}}}
    assert (await fly.http.post(f"{BASE}/machines", json=wrong)).status_code == 400


async def test_a_machine_that_is_started_before_its_volume_is_there_waits_for_it(fly: Rig) -> None:
    mounts = [{"volume": await restored_volume(fly), "path": "/data"}]
    body = {"config": {"image": "alpine", "mounts": mounts}, "skip_launch": True}
    path = f"{BASE}/machines/{(await fly.http.post(f'{BASE}/machines', json=body)).json()['id']}"
    assert (await fly.http.post(f"{path}/start")).status_code == 200
    seen = [(await fly.http.get(path)).json()["state"] for _ in range(6)]
    assert seen[0] == "starting"
    assert seen[-1] == "started"


async def test_a_suspended_machine_is_stopped_and_a_running_one_that_is_updated_without_a_launch_too(fly: Rig) -> None:
    await fly.http.post(f"{fly.machine_path}/suspend")
    assert (await fly.http.post(f"{fly.machine_path}/stop")).status_code == 200
    assert fly.machine.state == "stopped"
    await fly.http.post(f"{fly.machine_path}/start")
    config = {"image": "alpine", "mounts": [{"volume": fly.volume.id, "path": "/data"}]}
    await fly.http.post(fly.machine_path, json={"config": config, "skip_launch": True})
    assert fly.machine.state == "stopped"


async def test_a_volume_lets_go_of_a_destroyed_machine_with_a_lag(fly: Rig) -> None:
    path = f"{BASE}/volumes/{fly.volume.id}"
    machine_id = fly.machine.id
    await fly.http.delete(fly.machine_path, params={"force": "true"})
    seen = [(await fly.http.get(path)).json()["attached_machine_id"] for _ in range(2)]
    assert seen == [machine_id, None]
    assert (await fly.http.delete(path)).status_code == 200


async def test_a_lost_host_refuses_changes_and_starts_its_machine_when_it_returns(fly: Rig) -> None:
    machine = fly.machine
    fly.sim.world.lose_host(machine)
    path = fly.machine_path
    asked = [
        *[await fly.http.post(f"{path}/{verb}") for verb in ("stop", "start", "cordon", "lease")],
        await fly.http.post(f"{path}/metadata/key", json={"value": "v"}),
        await fly.http.delete(f"{path}/metadata/key"),
        await fly.http.put(f"{path}/metadata", json={"metadata": {}}),
        await fly.http.patch(f"{path}/metadata", json={"metadata": {}}),
        await fly.http.post(path, json={"config": {"image": "alpine"}}),
    ]
    assert [answer.status_code for answer in asked] == [503] * len(asked)
    assert fly.volume.host_status == "unreachable"
    fly.sim.world.return_host(machine)
    assert (machine.state, machine.host_status, fly.volume.host_status) == ("started", "ok", "ok")
    fly.sim.world.stop_machine(machine)
    fly.sim.world.lose_host(machine)
    fly.sim.world.return_host(machine)
    assert machine.state == "stopped"


async def test_health_checks_pass_a_little_later_and_fail_where_a_fault_says_so(tmp_path: Path) -> None:
    async with rig(tmp_path, scenario(check_polls=2)) as fly:
        fly.sim.faults.add(
            Fault(kind=FaultKind.CHECKS_FAIL, action="machine.create"),
            Fault(kind=FaultKind.CHECKS_FAIL, action="machine.stop"),
        )
        machine = fly.machine

        async def status() -> str:
            (check,) = (await fly.http.get(f"{BASE}/machines/{machine.id}")).json()["checks"]
            return str(check["status"])

        await fly.http.post(f"{fly.machine_path}/restart")
        assert [await status() for _ in range(3)] == ["critical", "critical", "passing"]
        await fly.http.post(f"{fly.machine_path}/stop")
        await fly.http.post(f"{fly.machine_path}/start")
        assert [await status() for _ in range(4)] == ["critical"] * 4
        body = {"config": {"image": "a"} | {"checks": CHECKS}, "skip_launch": True}
        made = (await fly.http.post(f"{BASE}/machines", json=body)).json()
        assert fly.sim.world.machines[made["id"]].failing_checks == {"alive"}


async def test_a_machine_may_be_out_of_routing_from_its_first_instant_and_is_put_into_it_later(fly: Rig) -> None:
    body = {"config": {"image": "alpine"}, "skip_launch": True, "skip_service_registration": True}
    made = (await fly.http.post(f"{BASE}/machines", json=body)).json()
    assert made["cordoned"] is True
    await fly.http.post(f"{BASE}/machines/{made['id']}/uncordon")
    assert fly.sim.world.machines[made["id"]].is_cordoned is False

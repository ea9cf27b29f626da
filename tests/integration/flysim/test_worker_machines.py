"""Machines that are made for a task: they run a real program, with the volume, without what is not theirs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from flykeep.testing.flysim import serve
from flykeep.testing.flysim.commands import Isolation, detect_isolation
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.model import Machine
from flykeep.testing.flysim.program import WORKER_IMAGE
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Scenario, Seed, SnapshotSpec, VolumeSpec
from tests.integration.flysim.simulated import Rig, rig

APP, SCRATCH = "shop", "flykeep-scratch"
SECRETS = {"PAYMENT_KEY": "planted-with-the-app"}
SMALL = Scenario(
    rate_limits=False,
    restore_polls=2,
    apps=(
        AppSpec(
            name=APP,
            secrets=SECRETS,
            machines=(MachineSpec(name="calm-sea-1", volume="shop_data"),),
            volumes=(
                VolumeSpec(
                    name="shop_data", seed=Seed(texts={"a.txt": "hi\n"}), snapshots=(SnapshotSpec(age_hours=1),)
                ),
            ),
        ),
        AppSpec(name=SCRATCH, secrets=SECRETS),
        AppSpec(
            name="theirs", org="another-org", volumes=(VolumeSpec(name="x", snapshots=(SnapshotSpec(age_hours=1),)),)
        ),
    ),
)
ISOLATIONS = [one for one in Isolation if one is Isolation.NONE or detect_isolation() is not Isolation.NONE]


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path / "fly", SMALL) as running:
        yield running


async def made(fly: Rig, command: list[str], *, app: str = SCRATCH, **body: Any) -> Machine:
    """A started machine on a volume made from the snapshot."""
    volume = await restored(fly, app)
    config = {"image": WORKER_IMAGE, "init": {"exec": command}, "mounts": [{"volume": volume, "path": "/snapshot"}]}
    config |= body.pop("config", {})
    answer = await fly.http.post(f"/apps/{app}/machines", json={"config": config, **body})
    assert answer.status_code == 200, answer.text
    machine = fly.sim.world.machines[answer.json()["id"]]
    await fly.http.get(f"/apps/{app}/machines")
    await fly.http.get(f"/apps/{app}/machines")
    assert machine.state in {"started", "stopped"}  # a program that ends at once has ended by now
    return machine


async def restored(fly: Rig, app: str) -> str:
    snapshot = fly.sim.world.find_volume(APP, "shop_data").snapshots[0]
    answer = await fly.http.post(f"/apps/{app}/volumes", json=volume_of(snapshot.id))
    assert answer.status_code == 200, answer.text
    states = [answer.json()["state"]]
    while states[-1] != "created":
        states.append((await fly.http.get(f"/apps/{app}/volumes/{answer.json()['id']}")).json()["state"])
    assert states == ["restoring"] * 3 + ["created"]
    return str(answer.json()["id"])


def volume_of(snapshot_id: str) -> dict[str, Any]:
    return {"name": "fk_1", "region": "iad", "size_gb": 1, "snapshot_id": snapshot_id}


async def run(fly: Rig, machine: Machine, *command: str, stdin: str = "") -> dict[str, Any]:
    body = {"command": list(command), "stdin": stdin}
    answer = await fly.http.post(f"/apps/{machine.app}/machines/{machine.id}/exec", json=body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - it is told by another process
            await asyncio.sleep(0.02)


def alive(fly: Rig, machine: Machine) -> dict[int, list[bytes]]:
    """The processes of a machine with their environments, each read once: in the midst of an exec it is empty."""
    entry = f"FLYSIM_MACHINE_HOME={fly.sim.directory}/machines/{machine.id}".encode()
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    told = {pid: environment(pid) for pid in pids}
    return {pid: variables for pid, variables in told.items() if entry in variables}


def environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it is over
        return []


async def test_a_volume_from_another_apps_snapshot_holds_its_bytes(fly: Rig) -> None:
    volume = fly.sim.world.volumes[await restored(fly, SCRATCH)]
    assert (volume.directory / "a.txt").read_text() == "hi\n"


async def test_a_snapshot_that_the_token_may_not_see_is_not_restored(fly: Rig) -> None:
    snapshot = next(v for v in fly.sim.world.volumes.values() if v.app == "theirs").snapshots[0]
    assert (await fly.http.post(f"/apps/{SCRATCH}/volumes", json=volume_of(snapshot.id))).status_code == 403
    narrow = fly.sim.world.add_grant(apps=frozenset({SCRATCH}))
    fly.http.headers["authorization"] = "FlyV1 " + ",".join(narrow.macaroons)
    own = fly.sim.world.find_volume(APP, "shop_data").snapshots[0]
    assert (await fly.http.post(f"/apps/{SCRATCH}/volumes", json=volume_of(own.id))).status_code == 403


@pytest.mark.parametrize("isolation", ISOLATIONS, ids=lambda one: one.name)
async def test_the_command_flykeep_runs_in_a_worker_machine_and_in_no_other(
    tmp_path: Path, isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "detect_isolation", lambda: isolation)
    async with rig(tmp_path / "fly", SMALL) as fly:
        fly.sim.write_config()
        worker = await made(fly, ["sh", "-c", "flykeep --version; exec sleep 600"])
        log = fly.sim.directory / "machines" / worker.id / "log"
        await until(lambda: log.read_text().startswith("flykeep "))
        store = fly.sim.directory / "store"
        assert "exit_code" not in await run(
            fly, worker, "sh", "-c", f"echo in > {store}/in; test -e {worker.mount_path}/a.txt"
        )
        assert (store / "in").read_text() == "in\n"
        assert (await run(fly, fly.sim.world.find_machine(APP), "sh", "-c", "command -v flykeep")).get("stdout") is None


async def test_a_program_in_a_machine_cannot_change_the_program(fly: Rig) -> None:
    if detect_isolation() is not Isolation.ROOT:
        pytest.skip("only root can mount the program's folder so that nobody writes to it")
    worker = await made(fly, ["sleep", "600"])
    result = await run(fly, worker, "touch", f"{sys.prefix}/written")
    assert "Read-only" in result["stderr"]


async def test_a_command_gets_its_standard_input(fly: Rig) -> None:
    worker = await made(fly, ["sleep", "600"])
    assert await run(fly, worker, "cat", stdin="é\n") == {"stdout": "é\n"}


@pytest.mark.parametrize(
    ("body", "is_told"),
    [
        ({}, True),
        ({"skip_secrets": True}, False),
        ({"config": {"processes": [{"exec": ["sleep", "600"], "ignore_app_secrets": True}]}}, False),
        ({"config": {"processes": [{"exec": ["sleep", "600"]}]}}, True),
    ],
)
async def test_secrets_reach_a_machine_that_was_not_made_without(fly: Rig, body: dict[str, Any], is_told: bool) -> None:
    machine = await made(fly, ["sleep", "600"], **body)
    running: dict[int, list[bytes]] = {}
    await until(lambda: running.update(alive(fly, machine)) or running)
    seen = [b"PAYMENT_KEY=planted-with-the-app" in variables for variables in running.values()]
    seen.append("planted-with-the-app" in (await run(fly, machine, "env"))["stdout"])
    assert set(seen) == {is_told}


async def test_a_machine_whose_program_ends_is_stopped_with_an_exit_event(fly: Rig) -> None:
    machine = await made(fly, ["sh", "-c", "sleep 600 & sleep 0.2; exit 3"])
    await until(lambda: machine.state == "stopped")
    assert machine.events[0].type == "exit"
    assert (machine.events[0].request or {})["exit_event"]["exit_code"] == 3
    assert not alive(fly, machine)


async def test_a_machine_whose_program_does_not_exist_is_stopped(fly: Rig) -> None:
    machine = await made(fly, ["/no/such/program"])
    await until(lambda: machine.state == "stopped")
    assert (machine.events[0].request or {})["exit_event"]["exit_code"] == 127


@pytest.mark.parametrize("end", ["stop", "destroy"])
async def test_nothing_of_a_machine_that_was_ended_runs_on(fly: Rig, end: str) -> None:
    machine = await made(fly, ["sh", "-c", "setsid sleep 600 & exec sleep 600"])
    await until(lambda: len(alive(fly, machine)) == 2)
    path = f"/apps/{SCRATCH}/machines/{machine.id}"
    if end == "stop":
        await fly.http.post(f"{path}/stop")
    else:
        await fly.http.delete(path, params={"force": "true"})
    await until(lambda: not alive(fly, machine))
    assert machine.state == {"stop": "stopped", "destroy": "destroyed"}[end]


async def test_a_program_that_was_killed_tells_its_signal(fly: Rig) -> None:
    machine = await made(fly, ["sleep", "600"])
    os.kill(next(iter(alive(fly, machine))), signal.SIGKILL)
    await until(lambda: machine.state == "stopped")
    assert (machine.events[0].request or {})["exit_event"]["signal"] == 9


async def test_want_of_room_is_refused_as_fly_words_it(fly: Rig) -> None:
    fly.sim.faults.add(
        Fault(kind=FaultKind.CAPACITY, action="volume.create"),
        Fault(kind=FaultKind.CAPACITY, action="machine.create"),
        Fault(kind=FaultKind.CAPACITY, action="machine.create", status=412),
    )
    refused = await fly.http.post(f"/apps/{SCRATCH}/volumes", json={"name": "fk_1", "region": "iad"})
    assert (refused.status_code, refused.json()["status"]) == (422, "volume_placement_capacity")
    body = {"config": {"image": "x", "mounts": [{"volume": await restored(fly, SCRATCH), "path": "/snapshot"}]}}
    refusals = [await fly.http.post(f"/apps/{SCRATCH}/machines", json=body) for _ in range(2)]
    assert [one.status_code for one in refusals] == [409, 412]
    assert "with existing volume" in refusals[1].json()["error"]
    assert (await fly.http.post(f"/apps/{SCRATCH}/machines", json=body)).status_code == 200

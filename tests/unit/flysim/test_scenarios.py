"""Scenario files are read strictly, and the world they make moves by polls and time."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flykeep.domain.errors import ConfigError
from flykeep.testing.clock import CountedIds, ManualClock
from flykeep.testing.flysim import volumes
from flykeep.testing.flysim.commands import CommandRunner, Isolation
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Progress, Scenario, Seed, VolumeSpec
from flykeep.testing.flysim.world import World


def small(**changes: Any) -> Scenario:
    app = AppSpec(
        name="app",
        machines=(MachineSpec(name="m", volume="data"),),
        volumes=(VolumeSpec(name="data", seed=Seed(kind="empty", texts={"dir/hello.txt": "hi\n"})),),
    )
    return Scenario(apps=(app,), **changes)


def world(directory: Path, clock: ManualClock, *, sees_mounts: bool = True, **changes: Any) -> World:
    return World(directory=directory, clock=clock, ids=CountedIds(), scenario=small(**changes), sees_mounts=sees_mounts)


@pytest.mark.parametrize("name", ["default", "sick_host"])
def test_shipped_scenarios_are_valid(name: str) -> None:
    assert Scenario.shipped(name).apps


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('orgg = "x"', "orgg"),
        ('[[apps]]\nname = "a"\n[[apps.volumes]]\nname = "v"\nsise_gb = 1', "apps.0.volumes.0.sise_gb"),
        ('[[faults]]\nkind = "meteor"', "faults.0.kind"),
        ("org = ", "scenario"),
    ],
)
def test_a_wrong_key_in_a_scenario_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Scenario.from_toml(text)


def test_a_scenario_file_may_script_faults(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('[[faults]]\nkind = "snapshot_stuck"\naction = "snapshot.create"\ntimes = 0\n')

    assert Scenario.from_file(path).faults[0].times == 0


@pytest.mark.parametrize(
    ("progress", "polls", "seconds", "expected"),
    [
        (Progress(polls=2, seconds=60), 0, 0, "waiting"),
        (Progress(polls=2, seconds=60), 1, 0, "running"),
        (Progress(polls=2, seconds=60), 2, 0, "created"),
        (Progress(polls=2, seconds=60), 0, 60, "created"),
        (Progress(polls=2, seconds=60, need="both"), 2, 59, "running"),
        (Progress(polls=2, seconds=60, need="both"), 2, 60, "created"),
        (Progress(polls=None, seconds=60), 50, 0, "waiting"),
        (Progress(polls=4, seconds=None), 3, 86400, "running"),
        (Progress(polls=None, seconds=None), 0, 0, "created"),
        (Progress(polls=0, seconds=None), 0, 0, "created"),
    ],
)
def test_a_snapshot_progresses_by_polls_and_time(
    tmp_path: Path, progress: Progress, polls: int, seconds: int, expected: str
) -> None:
    clock = ManualClock()
    made = world(tmp_path, clock, snapshot_progress=progress)
    volume = made.find_volume("app", "data")
    snapshot = volumes.take_snapshot(made, volume, None)
    for _ in range(polls):
        volumes.list_snapshots(made, volume)
    asyncio.run(clock.advance(timedelta(seconds=seconds)))

    assert volumes.status(made, snapshot) == expected


def test_a_snapshot_keeps_the_bytes_of_its_moment(tmp_path: Path) -> None:
    made = world(tmp_path, ManualClock())
    volume = made.find_volume("app", "data")
    snapshot = volumes.take_snapshot(made, volume, None)

    (volume.directory / "dir" / "hello.txt").write_text("changed")

    assert (made.snapshot_directory(snapshot.id) / "dir" / "hello.txt").read_text() == "hi\n"


def test_levers_age_settle_and_add_snapshots(tmp_path: Path) -> None:
    clock = ManualClock()
    made = world(tmp_path, clock)
    volume = made.find_volume("app", "data")
    volumes.take_snapshot(made, volume, None)
    made.settle_snapshots(volume)
    added = made.add_snapshot(volume, age=timedelta(hours=5))
    made.age_snapshots(volume, timedelta(hours=1))

    rows = volumes.list_snapshots(made, volume)

    assert [row["status"] for row in rows] == ["created", "created"]
    assert added.requested_at == clock.now() - timedelta(hours=6)


async def test_where_nothing_can_be_mounted_the_real_directory_is_the_mount_path(tmp_path: Path) -> None:
    made = world(tmp_path, ManualClock(), sees_mounts=False)
    machine, volume = made.find_machine("app"), made.find_volume("app", "data")
    assert machine.mount_path == str(volume.directory)
    runner = CommandRunner(made, Isolation.NONE)

    result = await runner.run(machine, ["cat", f"{machine.mount_path}/dir/hello.txt"], stdin=b"", timeout_s=20)

    assert (result.exit_code, result.stdout) == (0, b"hi\n")


async def test_a_user_namespace_shows_the_volume_too(tmp_path: Path) -> None:
    made = world(tmp_path, ManualClock())
    runner = CommandRunner(made, Isolation.USER)

    result = await runner.run(made.find_machine("app"), ["cat", "/data/dir/hello.txt"], stdin=b"", timeout_s=20)

    assert (result.exit_code, result.stdout, result.stderr) == (0, b"hi\n", b"")


async def test_a_command_that_times_out_is_ended_with_the_simulator(tmp_path: Path) -> None:
    made = world(tmp_path, ManualClock(), sees_mounts=False)
    runner = CommandRunner(made, Isolation.NONE)
    machine = made.find_machine("app")
    script = f"trap 'touch {machine.mount_path}/woken' EXIT; sleep 600"
    with pytest.raises(TimeoutError):
        await runner.run(machine, ["sh", "-c", script], stdin=b"", timeout_s=0.01)

    async with asyncio.timeout(60):
        await runner.close()

    assert not (Path(machine.mount_path or "") / "woken").exists()

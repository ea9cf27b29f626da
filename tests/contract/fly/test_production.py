"""What restores change in production keeps the port's promises: the client over the simulator, the fake in memory."""

from pathlib import Path

import pytest

from flykeep.adapters.fly.production import FlyProduction
from flykeep.domain.ids import AppName, MachineId, SnapshotId, VolumeId
from flykeep.testing.clock import JumpingClock
from flykeep.testing.contracts.production import CHECKS, Check, KnownProduction, says_whether_a_machines_name_is_taken
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Scenario, Seed, SnapshotSpec, VolumeSpec
from flykeep.testing.memory_fly import MemoryFly
from tests.integration.fly.simulated_fly import simulated_fly

APP = AppName("my-crocbot")
CHECK = {"alive": {"type": "tcp", "port": 8080}}
ONE_APP = Scenario(
    apps=(
        AppSpec(
            name=APP,
            machines=(MachineSpec(name="quiet-river-1", volume="crocbot_data", checks=CHECK),),
            volumes=(
                VolumeSpec(name="crocbot_data", size_gb=2, seed=Seed(count=1), snapshots=(SnapshotSpec(age_hours=6),)),
            ),
        ),
    ),
)
# A name is taken or not, as Fly pleases; all else is the same either way.
CASES = [(check, False) for check in CHECKS] + [(says_whether_a_machines_name_is_taken, True)]
IDS = [f"{check.__name__}{'_where_they_are_unique' * is_unique}" for check, is_unique in CASES]


@pytest.mark.parametrize(("check", "is_unique"), CASES, ids=IDS)
async def test_the_client(check: Check, *, is_unique: bool, tmp_path: Path) -> None:
    scenario = ONE_APP.model_copy(update={"unique_machine_names": is_unique})
    async with simulated_fly(tmp_path, scenario=scenario) as simulated:
        machine, volume = simulated.machine, simulated.volume

        def suspend() -> None:
            machine.state = "suspended"

        known = KnownProduction(
            app=APP,
            machine_id=MachineId(machine.id),
            volume_id=VolumeId(volume.id),
            snapshot_id=SnapshotId(volume.snapshots[0].id),
            suspend=suspend,
            are_names_unique=is_unique,
        )
        await check(FlyProduction(simulated.fly, clock=simulated.clock), known)
        assert not [request for request in simulated.sim.requests if request.is_judged_refused]
        assert not [request for request in simulated.sim.requests if request.status == 429]


@pytest.mark.parametrize(("check", "is_unique"), CASES, ids=IDS)
async def test_the_fake(check: Check, *, is_unique: bool) -> None:
    fly = MemoryFly(JumpingClock(), are_names_unique=is_unique)
    disk = fly.add_volume("crocbot_data", contents="good", size_gb=2)
    server = fly.add_machine("quiet-river-1", disk, checks=CHECK)

    def suspend() -> None:
        server.state = "suspended"

    known = KnownProduction(
        app=APP,
        machine_id=server.id,
        volume_id=disk.volume.id,
        snapshot_id=fly.add_snapshot(disk),
        suspend=suspend,
        are_names_unique=is_unique,
    )
    await check(fly, known)

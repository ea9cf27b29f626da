"""Temporary volumes and machines keep the port's promises: the client over the simulator, and the fake in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flykeep.adapters.fly.scratch import FlyScratch
from flykeep.domain.ids import SnapshotId
from flykeep.testing.clock import JumpingClock
from flykeep.testing.contracts.scratch import CHECKS, Check, KnownScratch
from flykeep.testing.memory_fly import MemoryFly
from tests.integration.fly.simulated_fly import SCRATCH_APP, SimulatedFly, simulated_fly
from tests.integration.jobs.scratch_world import APP as FAKE_APP
from tests.integration.jobs.scratch_world import ScratchWorld


@pytest.fixture
async def simulated(tmp_path: Path) -> AsyncIterator[SimulatedFly]:
    async with simulated_fly(tmp_path) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_client(check: Check, simulated: SimulatedFly) -> None:
    snapshot = SnapshotId(simulated.volume.snapshots[0].id)
    known = KnownScratch(app=SCRATCH_APP, snapshot_id=snapshot, region="iad", image="registry.fly.io/any@sha256:00")
    await check(FlyScratch(simulated.fly, clock=simulated.clock), known)
    assert not [request for request in simulated.sim.requests if request.is_judged_refused]
    assert not [request for request in simulated.sim.requests if request.status == 429]
    assert not [volume for volume in simulated.sim.world.volumes_of(SCRATCH_APP) if volume.state == "created"]
    assert all(machine.state == "destroyed" for machine in simulated.sim.world.machines_of(SCRATCH_APP))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fake(check: Check) -> None:
    known = KnownScratch(app=FAKE_APP, snapshot_id=SnapshotId("vs_0"), region="fra", image="image@sha256:00")
    await check(ScratchWorld(JumpingClock()), known)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_whole_fly_in_memory(check: Check) -> None:
    fly = MemoryFly(JumpingClock(), app_names={FAKE_APP, "my-crocbot"})
    snapshot = fly.add_snapshot(fly.add_volume("crocbot_data", contents="good"))
    await check(fly, KnownScratch(app=FAKE_APP, snapshot_id=snapshot, region="fra", image="image@sha256:00"))

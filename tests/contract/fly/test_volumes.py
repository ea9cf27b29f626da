"""The care of volumes keeps the port's promises: the client over the simulator, and the fake in memory."""

from dataclasses import replace
from pathlib import Path

import pytest

from flykeep.adapters.fly.volumes import FlyVolumes
from flykeep.testing.contracts.volumes import CHECKS, Check, KnownVolume
from tests.integration.fly.simulated_fly import APP, SMALL, simulated_fly
from tests.integration.jobs.parts import MemoryFly
from tests.integration.jobs.volume_world import MemoryVolumes


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("needs_restart", [True, False])
async def test_the_client(check: Check, tmp_path: Path, *, needs_restart: bool) -> None:
    scenario = SMALL.model_copy(update={"extend_needs_restart": needs_restart})
    async with simulated_fly(tmp_path, scenario=scenario) as simulated:
        known = KnownVolume(app=APP, volume_id=simulated.volume_id, needs_restart=needs_restart)
        await check(FlyVolumes(simulated.fly), known)
        assert not [request for request in simulated.sim.requests if request.is_judged_refused]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fake(check: Check) -> None:
    fly = MemoryFly()
    fly.the_volume = replace(fly.the_volume, size_gb=1)
    known = KnownVolume(app=fly.the_volume.app, volume_id=fly.the_volume.id, needs_restart=True)
    await check(MemoryVolumes(fly, needs_restart=True), known)

"""The Fly client keeps the port's promises, over real HTTP against the simulator with its rate limits on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from flykeep.domain.ids import MachineId, VolumeName
from flykeep.testing.contracts.fly import CHECKS, Check, KnownFly
from tests.integration.fly.simulated_fly import APP, STOPPED_APP, SimulatedFly, simulated_fly


@pytest.fixture
async def simulated(tmp_path: Path) -> AsyncIterator[SimulatedFly]:
    async with simulated_fly(tmp_path) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_client(check: Check, simulated: SimulatedFly) -> None:
    world = simulated.sim.world
    mount_path = simulated.machine.mount_path
    assert mount_path is not None
    public_key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    known = KnownFly(
        org=simulated.sim.org,
        app=APP,
        machine_id=simulated.machine_id,
        volume_id=simulated.volume_id,
        volume_name=VolumeName("crocbot_data"),
        mount_path=mount_path,
        stopped_app=STOPPED_APP,
        stopped_machine_id=MachineId(world.find_machine(STOPPED_APP).id),
        public_key=public_key.decode(),
    )

    await check(simulated.fly, known)
    assert not [request for request in simulated.sim.requests if request.is_judged_refused]
    assert not [request for request in simulated.sim.requests if request.status == 429]

"""Apps are read and made as the port promises: the client over the simulator, and the fake in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flykeep.adapters.fly.apps import FlyApps
from flykeep.domain.app_description import AddressKind
from flykeep.domain.ids import AppName
from flykeep.testing.contracts.apps import CHECKS, Check, KnownApps
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Scenario
from tests.integration.fly.simulated_fly import APP, SimulatedFly, simulated_fly
from tests.integration.jobs.apps_world import AppsWorld, kept_app

KNOWN = KnownApps(
    org="personal",
    app=APP,
    secrets=("ANTHROPIC_API_KEY", "TELEGRAM_BOT_TOKEN"),
    kinds=(AddressKind.SHARED_V4, AddressKind.V6, AddressKind.PRIVATE_V6),
    certificates=tuple(f"host-{number:02}.example.com" for number in range(30)),  # more than a page
    foreign_app=AppName("foreign-app"),
)
SCENARIO = Scenario(
    apps=(
        AppSpec(
            name=APP,
            secrets=dict.fromkeys(KNOWN.secrets, "planted"),
            addresses=("shared_v4", "v6", "private_v6"),
            certificates=KNOWN.certificates,
            machines=(MachineSpec(name="croc-1"),),
        ),
        AppSpec(name=KNOWN.foreign_app, org="another-org"),
    )
)


@pytest.fixture
async def simulated(tmp_path: Path) -> AsyncIterator[SimulatedFly]:
    async with simulated_fly(tmp_path, scenario=SCENARIO) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_client(check: Check, simulated: SimulatedFly) -> None:
    await check(FlyApps(simulated.fly, clock=simulated.clock), KNOWN)
    assert not [request for request in simulated.sim.requests if request.is_judged_refused]
    assert not [request for request in simulated.sim.requests if request.status == 429]
    assert "planted" not in repr(simulated.sim.requests)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_fake(check: Check) -> None:
    world = AppsWorld(org=KNOWN.org, foreign=frozenset({KNOWN.foreign_app}))
    world.kept[APP] = kept_app(APP, secrets=KNOWN.secrets, kinds=KNOWN.kinds, certificates=KNOWN.certificates)
    await check(world, KNOWN)

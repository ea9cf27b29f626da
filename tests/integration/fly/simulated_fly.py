"""The client and a simulated Fly over real HTTP, each on a clock of its own or both on one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
from pydantic import SecretStr

from flykeep.adapters.fly.client import FlyClient
from flykeep.adapters.fly.http import WireTimeouts
from flykeep.domain.ids import AppName, MachineId, VolumeId
from flykeep.ports.clock import Clock
from flykeep.testing.clock import CountedIds, JumpingClock
from flykeep.testing.flysim.faults import Fault
from flykeep.testing.flysim.model import Machine, Volume
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Scenario, Seed, SnapshotSpec, VolumeSpec
from flykeep.testing.flysim.serve import FlySim

APP = AppName("my-crocbot")
OTHER_APP = AppName("ledger-api")
STOPPED_APP = AppName("batch-jobs")
SCRATCH_APP = AppName("flykeep-scratch")


def _app(name: AppName, volume: str, *, state: Literal["started", "stopped"] = "started") -> AppSpec:
    seed = Seed(kind="files", count=3)
    snapshots = (SnapshotSpec(age_hours=30), SnapshotSpec(age_hours=6))
    return AppSpec(
        name=name,
        machines=(MachineSpec(name=f"{name}-1", volume=volume, state=state),),
        volumes=(
            VolumeSpec(name=volume, seed=seed, snapshots=snapshots if name == APP else ()),
            VolumeSpec(name=volume, seed=Seed(kind="empty"), state="pending_destroy"),
        ),
    )


# Small, for it is built anew for every test.
SMALL = Scenario(
    apps=(
        _app(APP, "crocbot_data"),
        _app(OTHER_APP, "ledger_db"),
        _app(STOPPED_APP, "jobs_data", state="stopped"),
        AppSpec(name=SCRATCH_APP),
    )
)


@dataclass
class SimulatedFly:
    sim: FlySim
    fly: FlyClient
    clock: JumpingClock  # the client's; it jumps, so that no test waits for a retry

    @property
    def volume(self) -> Volume:
        return self.sim.world.find_volume(APP, "crocbot_data")

    @property
    def volume_id(self) -> VolumeId:
        return VolumeId(self.volume.id)

    @property
    def machine(self) -> Machine:
        return self.sim.world.find_machine(APP)

    @property
    def machine_id(self) -> MachineId:
        return MachineId(self.machine.id)

    def arm(self, *faults: Fault) -> None:
        self.sim.faults.add(*faults)

    def asked(self, action: str) -> int:
        """How often an action was asked of the simulator."""
        return sum(1 for request in self.sim.requests if request.action == action)


def client_of(
    sim: FlySim, *, clock: Clock, token: str | None = None, timeouts: WireTimeouts | None = None
) -> FlyClient:
    return FlyClient(
        token=SecretStr(token or sim.token),
        org=sim.org,
        flaps_base_url=sim.flaps_base_url,
        api_base_url=sim.api_base_url,
        clock=clock,
        ids=CountedIds(),
        # Proxies of the environment do not stand between a test and its own simulator.
        transport=httpx.AsyncHTTPTransport(trust_env=False),
        timeouts=timeouts,
    )


@asynccontextmanager
async def simulated_fly(
    directory: Path,
    *,
    scenario: Scenario | None = None,
    sim_clock: Clock | None = None,
    timeouts: WireTimeouts | None = None,
) -> AsyncIterator[SimulatedFly]:
    """One clock for both unless `sim_clock` is given: then the simulator's rate limits refill as the client waits."""
    clock = JumpingClock()
    async with FlySim.start(
        state_directory=directory, clock=sim_clock or clock, ids=CountedIds(), scenario=scenario or SMALL
    ) as sim:
        fly = client_of(sim, clock=clock, timeouts=timeouts)
        try:
            yield SimulatedFly(sim=sim, fly=fly, clock=clock)
        finally:
            await fly.aclose()

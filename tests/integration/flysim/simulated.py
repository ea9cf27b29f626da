"""A simulator on a clock that stands still, and a client that speaks plain HTTP to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import httpx

from flykeep.testing.clock import CountedIds, ManualClock
from flykeep.testing.flysim.model import Machine, Volume
from flykeep.testing.flysim.scenario import Scenario
from flykeep.testing.flysim.serve import FlySim

_SMALL = (
    (resources.files("flykeep.testing.flysim") / "scenarios" / "default.toml")
    .read_text(encoding="utf-8")
    .replace("count = 60", "count = 1")
)
MEANT_WRONG = {"x-flysim-meant-wrong": "1"}


def quiet(**changes: Any) -> Scenario:
    """The default scenario, small and without rate limits, so that a standing clock does not stop the tests."""
    return Scenario.from_toml(_SMALL).model_copy(update={"rate_limits": False} | changes)


@dataclass
class Rig:
    sim: FlySim
    clock: ManualClock
    http: httpx.AsyncClient

    @property
    def volume(self) -> Volume:
        return self.sim.world.find_volume("my-crocbot", "crocbot_data")

    @property
    def machine(self) -> Machine:
        return self.sim.world.find_machine("my-crocbot")

    @property
    def snapshots(self) -> str:
        return f"/apps/my-crocbot/volumes/{self.volume.id}/snapshots"

    @property
    def machine_path(self) -> str:
        return f"/apps/my-crocbot/machines/{self.machine.id}"

    async def until_somebody_sleeps(self) -> None:
        """Return once a request waits for the clock."""
        for _ in range(1000):
            if self.clock.sleeper_count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("nothing waits for the clock")

    async def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = await self.http.post(f"{self.sim.api_base_url}/graphql", json={"query": query, "variables": variables})
        assert answer.status_code == 200
        document: dict[str, Any] = answer.json()
        return document


@asynccontextmanager
async def rig(directory: Path, scenario: Scenario | None = None) -> AsyncIterator[Rig]:
    clock = ManualClock()
    async with FlySim.start(
        state_directory=directory, clock=clock, ids=CountedIds(), scenario=scenario or quiet()
    ) as sim:
        base, headers = f"{sim.flaps_base_url}/v1", {"authorization": sim.token}
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=20, trust_env=False, verify=False) as http:
            yield Rig(sim, clock, http)

"""The app of temporary things is made once, and never used where it holds secrets."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from flykeep.domain.errors import FlyNotFoundError, RefusalError
from flykeep.domain.fly import App
from flykeep.domain.ids import AppName
from flykeep.jobs.scratch_app import ensure_scratch_app


@dataclass
class Ground:
    """ports.premises.Premises in memory: apps, their networks and the names of their secrets."""

    networks: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, tuple[str, ...]] = field(default_factory=dict)

    async def app(self, name: AppName) -> App:
        if name not in self.networks:
            raise FlyNotFoundError("app not found")
        return App(name, "deployed", self.networks[name])

    async def create_app(self, name: AppName, *, network: str) -> None:
        self.networks[name] = network

    async def secret_names(self, app: AppName) -> tuple[str, ...]:
        return self.secrets.get(app, ())

    async def may_make_in(self, _app: AppName) -> bool:
        return True

    async def may_read(self, _app: AppName) -> bool:
        return True


async def test_it_is_made_in_a_network_of_its_own_and_then_is_there() -> None:
    ground = Ground()
    assert await ensure_scratch_app(ground, "scratch") == "made"
    assert ground.networks == {"scratch": "scratch"}
    assert await ensure_scratch_app(ground, "scratch") == "there"


async def test_one_that_holds_secrets_is_refused_by_their_names() -> None:
    with pytest.raises(RefusalError, match="LEFT_OVER"):
        await ensure_scratch_app(Ground({"scratch": "scratch"}, {"scratch": ("LEFT_OVER",)}), "scratch")

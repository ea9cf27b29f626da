"""`flykeep init` as people run it: a configuration that can run, an app for what is temporary, nothing written over."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flykeep.testing.flysim.model import Secret
from tests.e2e.warm import WarmKit, warm_flykeep
from tests.flykit import Ended
from tests.full import full
from tests.integration.scratch.home import SCRATCH_APP, SHOP

RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"


@dataclass
class Newcomer:
    """Somebody without a configuration."""

    kit: WarmKit
    path: Path
    count: int = field(default=0)

    async def init(self, *words: str, **options: str | None) -> Ended:
        given = {"org": "personal", "app": "shop", "store": "acme-backups", "recipient": RECIPIENT} | options
        named = [word for name, value in given.items() if value for word in (f"--{name}", value)]
        return await self.kit.run("init", "--config", str(self.path), "--json", *named, *words)


@pytest.fixture
async def newcomer(tmp_path: Path) -> AsyncIterator[Newcomer]:
    async with warm_flykeep(tmp_path, scenario=SHOP) as kit:
        yield Newcomer(kit, tmp_path / "first.toml")


async def test_it_writes_a_configuration_that_can_run_and_makes_the_app(newcomer: Newcomer) -> None:
    world = newcomer.kit.sim.world
    world.remove_app(SCRATCH_APP)
    ended = await newcomer.init()
    assert ended.code == 0, ended.stderr
    assert ended.document["scratch_state"] == "made"
    assert ended.document["secrets"] == ["FLY_API_TOKEN", "OFFSITE_KEY_ID", "OFFSITE_KEY"]
    assert world.apps[SCRATCH_APP].network == SCRATCH_APP
    checked = await newcomer.kit.run("config", "check", "--config", str(newcomer.path), "--json")
    assert checked.code == 0, checked.stdout
    assert stat.S_IMODE(newcomer.path.stat().st_mode) == 0o644
    assert [path.name for path in newcomer.path.parent.glob(".first*")] == []
    assert newcomer.kit.sim.token not in newcomer.path.read_text()


async def test_a_file_that_exists_is_never_written_over(newcomer: Newcomer) -> None:
    newcomer.path.write_text("mine")
    ended = await newcomer.init()
    assert ended.code == 4
    assert newcomer.path.read_text() == "mine"


async def refused(newcomer: Newcomer, *words: str, **options: str | None) -> dict[str, Any]:
    ended = await newcomer.init(*words, **options)
    assert ended.code == 2
    assert not newcomer.path.exists()
    error: dict[str, Any] = ended.document["error"]
    return error


async def test_what_is_missing_or_cannot_be_is_named_and_nothing_is_written(newcomer: Newcomer) -> None:
    assert "--recipient" in (await refused(newcomer, recipient=None))["message"]
    assert "--org" in (await refused(newcomer, org=None))["message"]
    assert "recipients" in str(await refused(newcomer, recipient="age1wrong"))


@full("a cold process")
async def test_an_app_that_is_there_serves_and_one_with_secrets_does_not(newcomer: Newcomer) -> None:
    assert (await newcomer.init()).document["scratch_state"] == "there"
    world = newcomer.kit.sim.world
    world.apps[SCRATCH_APP].secrets["LEFT"] = Secret("LEFT", "d", world.now(), "over")
    newcomer.path.unlink()
    assert "LEFT" in (await newcomer.init()).document["scratch_state"]


@full("a cold process")
async def test_a_token_that_may_not_make_apps_leaves_the_configuration_and_the_command_to_give(
    newcomer: Newcomer,
) -> None:
    world = newcomer.kit.sim.world
    world.remove_app(SCRATCH_APP)
    reader = world.add_grant(is_read_only=True)
    newcomer.kit.extra["FLY_API_TOKEN"] = "FlyV1 " + ",".join(reader.macaroons)
    ended = await newcomer.init()
    assert ended.code == 0
    assert ended.document["scratch_state"].startswith("not made")
    assert "fly apps create flykeep-scratch" in ended.document["hint"]
    assert newcomer.path.exists()
    newcomer.path.unlink()
    offline = await newcomer.init("--offline", "--unencrypted", recipient=None, store="/mnt/shelf")
    assert (offline.code, offline.document["scratch_state"]) == (0, "not looked at")
    assert SCRATCH_APP not in world.apps

"""The doctor says beforehand what would stop an export from a snapshot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flykeep.bootstrap import open_application
from flykeep.domain.errors import FlykeepError
from flykeep.domain.ids import AppName
from flykeep.settings import load_settings
from flykeep.testing.flysim.model import Secret
from tests.flykit import Kit, flykeep
from tests.integration.scratch.home import SCRATCH_APP, SHOP

BY_SNAPSHOT = ('source = "ssh"', 'source = "auto"')
IN_TARGET_APP = ("[worker]", "[scratch]\nin_target_app = true\n\n[worker]")
APPS = (AppName("shop"), AppName("attic"))


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    async with flykeep(tmp_path, scenario=SHOP) as running:
        yield running


async def said(kit: Kit, *edits: tuple[str, str]) -> str:
    for old, new in edits:
        kit.edit(old, new)
    async with open_application(load_settings(kit.config, kit.environment)) as application:
        assert application.doctor.snapshots is not None
        return await application.doctor.snapshots.examine(APPS)


async def refusal(kit: Kit, *edits: tuple[str, str]) -> FlykeepError:
    with pytest.raises(FlykeepError) as caught:
        await said(kit, *edits)
    return caught.value


async def test_all_is_well_in_an_app_of_its_own(kit: Kit) -> None:
    text = await said(kit, BY_SNAPSHOT)
    assert text == f"possible in the app {SCRATCH_APP}, which has no secrets, in network {SCRATCH_APP}"


async def test_it_is_one_of_the_things_that_are_examined(kit: Kit) -> None:
    kit.edit(*BY_SNAPSHOT)
    async with open_application(load_settings(kit.config, kit.environment)) as application:
        found = {one.subject: one for one in await application.doctor.examine()}
    assert found["exports from snapshots"].error is None
    assert "possible" in found["exports from snapshots"].detail


async def test_what_is_not_used_is_not_examined(kit: Kit) -> None:
    assert "over ssh" in await said(kit)
    image = next(line for line in kit.config.read_text().splitlines() if line.startswith("image"))
    assert "without [worker] image" in await said(kit, BY_SNAPSHOT, (image, ""))


async def test_a_missing_app_comes_with_the_command_that_makes_it(kit: Kit) -> None:
    kit.sim.world.remove_app(SCRATCH_APP)
    assert f"fly apps create {SCRATCH_APP}" in (await refusal(kit, BY_SNAPSHOT)).next_step


async def test_secrets_in_the_app_are_named_and_not_shown(kit: Kit) -> None:
    world = kit.sim.world
    world.apps[SCRATCH_APP].secrets["LEFT_OVER"] = Secret("LEFT_OVER", "d", world.now(), "its value")
    error = await refusal(kit, BY_SNAPSHOT)
    assert "LEFT_OVER" in error.message
    assert "fly secrets unset" in error.next_step
    assert "its value" not in str(error)


@pytest.mark.parametrize(("apps", "word"), [({"shop", "attic"}, "not yours"), ({SCRATCH_APP, "shop"}, "attic")])
async def test_a_token_that_cannot_do_both_is_told_from_one_that_can(kit: Kit, apps: set[str], word: str) -> None:
    grant = kit.sim.world.add_grant(apps=frozenset(apps))
    kit.extra = {"FLY_API_TOKEN": "FlyV1 " + ",".join(grant.macaroons)}
    assert word in (await refusal(kit, BY_SNAPSHOT)).message


async def test_a_token_that_may_only_read_makes_nothing(kit: Kit) -> None:
    grant = kit.sim.world.add_grant(is_read_only=True)
    kit.extra = {"FLY_API_TOKEN": "FlyV1 " + ",".join(grant.macaroons)}
    assert "may make nothing" in (await refusal(kit, BY_SNAPSHOT)).message
    assert "may make nothing in the app shop" in (await refusal(kit, IN_TARGET_APP)).message


async def test_the_targets_own_apps_serve_too(kit: Kit) -> None:
    assert "own apps" in await said(kit, BY_SNAPSHOT, IN_TARGET_APP)


async def test_a_folder_that_no_worker_has_is_named(kit: Kit) -> None:
    assert "'offsite'" in (await refusal(kit, BY_SNAPSHOT, ("visible_to_workers = true\n", ""))).message

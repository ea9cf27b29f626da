"""`recover APP --runbook` prints the page from the catalog, and from the stores alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from flykeep.adapters.codecs.sealing import AgeOpener
from flykeep.bootstrap import open_application
from flykeep.cli.context import Common
from flykeep.cli.recover_runbook import Wanted, print_runbook
from flykeep.domain.errors import NotFoundError
from flykeep.domain.ids import AppName
from flykeep.domain.page import command_blocks
from flykeep.domain.policy import JobKind
from flykeep.domain.signed_page import read_page
from flykeep.settings import load_settings
from tests.flykit import Kit, flykeep
from tests.integration.scratch.home import SHOP, Home, QuickClock, ended_well

APP = AppName("shop")
WANTED = Wanted(APP, APP)
PLAIN, JSON = Common(None, is_json=False, is_verbose=False), Common(None, is_json=True, is_verbose=False)


@asynccontextmanager
async def opened(kit: Kit) -> AsyncIterator[Home]:
    settings = replace(load_settings(kit.config, kit.environment), notifiers=())
    clock = QuickClock()
    async with open_application(settings, clock=clock) as application:
        yield Home(kit, application, clock)


def stored(kit: Kit, identity: str) -> str:
    sealed = (kit.sim.directory / "store" / "_runbooks" / "shop.md.zst.age").read_bytes()
    return read_page(AgeOpener().open(sealed, identity=identity)).text


async def test_the_page_is_the_stored_one_also_with_an_empty_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with flykeep(tmp_path, scenario=SHOP) as kit:
        identity = (kit.sim.directory / "age-identity.txt").read_text()
        async with opened(kit) as here:
            ended_well(await here.run(JobKind.CHECK))
            ended_well(await here.export(source="ssh"))
            capsys.readouterr()
            assert await print_runbook(here.application, PLAIN, WANTED) == 0
            assert capsys.readouterr().out == stored(kit, identity)
            assert await print_runbook(here.application, JSON, Wanted(APP, AppName("shop-2"), "acme")) == 0
            document = json.loads(capsys.readouterr().out)
            assert list(document) == ["schema", "app", "name", "runbook"]
            assert (document["app"], document["name"]) == ("shop", "shop-2")
            assert command_blocks(document["runbook"])["app"] == "fly apps create shop-2 --org acme\n"

        for path in kit.sim.directory.glob("flykeep.db*"):
            path.unlink()
        async with opened(kit) as here:
            with pytest.raises(NotFoundError, match="offsite: not opened"):
                await print_runbook(here.application, PLAIN, WANTED)
            assert await print_runbook(here.application, PLAIN, replace(WANTED, identity=identity)) == 0
            assert capsys.readouterr().out == stored(kit, identity)

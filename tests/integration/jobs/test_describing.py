"""Apps are described at checks: when they change, every few hours, and never at the cost of anything else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.codecs.sealing import AgeOpener, AgeSealer
from flykeep.adapters.db.engine import open_catalog
from flykeep.domain import layout
from flykeep.domain.app_description import AddressKind, AppDescription
from flykeep.domain.describing import DescriptionState
from flykeep.domain.errors import FlyForbiddenError
from flykeep.domain.fly import HostStatus, Inventory
from flykeep.domain.ids import AppName
from flykeep.jobs.describing import Describer
from flykeep.jobs.rebuild import RebuildJob
from flykeep.jobs.statefile import StateWriter
from flykeep.ports.catalog import SavedDescription
from flykeep.testing.stores import MemoryStore
from tests.integration.jobs.apps_world import IMAGE, AppsWorld, kept_app
from tests.integration.jobs.parts import Parts, parts_in
from tests.integration.worker.artifacts import OPERATOR
from tests.unit.domain.builders import HOUR, inventory, machine, volume

APP = AppName("my-crocbot")
SEEN = inventory(volume(), machines=(machine(instance_id="1"),))
READS = ["machines", "app", "secrets", "addresses", "certificates"]


class Place:
    """A describer over apps in memory."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.world = AppsWorld()
        self.world.kept[APP] = kept_app(
            APP, secrets=("A",), kinds=(AddressKind.SHARED_V4,), certificates=("bot.example.com",)
        )
        self.describer = Describer(self.world, parts.catalog, parts.clock, "personal")
        self.store = MemoryStore("offsite")

    async def renew(self, seen: Inventory = SEEN, *apps: AppName) -> DescriptionState:
        (state,) = await self.describer.renew(seen, apps or (APP,))
        return state

    async def kept(self) -> AppDescription:
        async with self.parts.catalog.transaction() as tx:
            saved = await tx.description(APP)
        assert saved is not None
        assert saved.description is not None
        return saved.description

    def asked(self) -> list[str]:
        calls = [call for call, _ in self.world.asked]
        self.world.asked.clear()
        return calls

    async def written(self) -> tuple[str, ...]:
        to, signer = (str(OPERATOR.to_public()),), self.parts.keys.signer
        return await StateWriter(
            self.parts.catalog, {"offsite": self.store}, AgeSealer(), signer, to, "personal"
        ).write()


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Place]:
    async with parts_in(tmp_path) as parts:
        yield Place(parts)


async def test_an_app_is_read_once_and_again_when_it_changed_or_hours_passed(at: Place) -> None:
    assert (await at.renew()).failure is None
    described = await at.kept()
    assert (described.machines[0].image, described.secret_names) == (IMAGE, ("A",))
    assert at.asked() == READS
    await at.renew()
    assert at.asked() == []
    await at.renew(replace(SEEN, volumes=(volume(size_gb=9),)))
    assert at.asked() == READS
    assert (await at.kept()).volumes[0].size_gb == 9
    await at.parts.clock.advance(timedelta(hours=6))
    await at.renew(replace(SEEN, volumes=(volume(size_gb=9),)))
    assert at.asked() == READS


async def test_a_sick_machine_keeps_the_last_whole_configuration(at: Place) -> None:
    await at.renew()
    whole = await at.kept()
    (well,) = at.world.kept[APP].machines
    at.world.kept[APP].machines = [replace(well, config_json=None, host_status=HostStatus.UNREACHABLE)]
    await at.parts.clock.advance(7 * HOUR)
    state = await at.renew()
    assert await at.kept() == whole
    assert state.failure == "machine croc-1: its host does not answer"
    assert state.failing_since_at == at.parts.clock.now()


async def test_a_refused_part_is_told_tried_again_at_once_and_stops_nothing(at: Place) -> None:
    at.world.failures["certificates"] = FlyForbiddenError("unauthorized")
    first = await at.renew()
    assert (first.failure, (await at.kept()).gaps) == ("certificates: unauthorized", ("certificates",))
    await at.parts.clock.advance(HOUR)
    again = await at.renew()
    assert again.failing_since_at == first.failing_since_at
    del at.world.failures["certificates"]
    assert (await at.renew()).failure is None
    assert (await at.kept()).gaps == ()


async def test_an_app_whose_machines_cannot_be_read_stays_as_it_was(at: Place) -> None:
    at.world.failures["machines"] = FlyForbiddenError("unauthorized")
    assert (await at.renew()).description is None
    del at.world.failures["machines"]
    await at.renew()
    at.world.failures["machines"] = FlyForbiddenError("unauthorized")
    await at.parts.clock.advance(7 * HOUR)
    state = await at.renew()
    assert (state.description, state.failure) == (await at.kept(), "machines: unauthorized")


async def test_half_an_inventory_changes_nothing(at: Place) -> None:
    half = inventory(missing=("ams",))
    assert await at.describer.renew(half, (APP,)) == ()
    await at.renew()
    whole = await at.kept()
    at.asked()
    state = await at.renew(half)
    assert (state.description, at.asked()) == (whole, [])


async def test_the_state_document_holds_it_sealed_and_changes_only_with_its_content(at: Place) -> None:
    await at.renew()
    assert await at.written() == ("offsite",)
    await at.parts.clock.advance(7 * HOUR)
    await at.renew()
    assert await at.written() == ()
    sealed = await at.store.get(layout.STATE_KEY)
    assert b"bot.example.com" not in sealed
    opened = json.loads(AgeOpener().open(sealed, identity=str(OPERATOR)))
    assert [app["certificates"] for app in opened["apps"]] == [["bot.example.com"]]
    at.world.kept[APP].certificates.append("www.example.com")
    await at.parts.clock.advance(7 * HOUR)
    await at.renew()
    assert await at.written() == ("offsite",)


async def test_an_empty_catalog_learns_it_from_the_stores_and_never_takes_a_later_one_back(
    at: Place, tmp_path: Path
) -> None:
    await at.renew()
    described = await at.kept()
    await at.written()
    async with open_catalog(f"sqlite+aiosqlite:///{tmp_path / 'fresh.db'}") as catalog:
        stores = {"offsite": at.store}
        settler = replace(at.parts.settler, catalog=catalog)
        rebuild = RebuildJob(catalog, at.parts.clock, stores, settler, AgeOpener(), lambda: str(OPERATOR))
        await rebuild.rebuild(["offsite"])
        async with catalog.transaction() as tx:
            (saved,) = await tx.descriptions()
            later = replace(described, certificates=(), described_at=described.described_at + HOUR)
            await tx.save_description(SavedDescription(APP, later, "seen", later.described_at))
        assert saved.description == described
        await rebuild.rebuild(["offsite"])
        async with catalog.transaction() as tx:
            (saved,) = await tx.descriptions()
        assert (saved.description, saved.fingerprint) == (later, "seen")

"""The doctor tries what a backup will need; one sick thing does not hide the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flykeep.adapters.system import SystemClock, SystemIds
from flykeep.bootstrap import open_application
from flykeep.domain.errors import StateError, StoreError, StorePreconditionError
from flykeep.domain.stores import StoreTraits
from flykeep.jobs import doctor
from flykeep.jobs.doctor import Doctor, Examined
from flykeep.jobs.export import BoundStore
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.settings import load_settings
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.serve import FlySim
from flykeep.testing.stores import MemoryStore
from tests.databases import place_empty_database
from tests.integration.jobs.workplace import APP, TARGET, one_volume

SSH = f"ssh {TARGET}"


@asynccontextmanager
async def surgery(
    directory: Path, *, token: str | None = None, edit: Callable[[str], str] = lambda text: text
) -> AsyncIterator[tuple[FlySim, Doctor]]:
    """A doctor with the real clock: certificates are judged by it."""
    async with FlySim.start(
        state_directory=directory / "fly", clock=SystemClock(), ids=SystemIds(), scenario=one_volume()
    ) as sim:
        path = sim.write_config()
        path.write_text(edit(path.read_text()))
        place_empty_database(sim.directory / "flykeep.db")
        environ = sim.environment() | ({"FLY_API_TOKEN": token} if token else {})
        async with open_application(load_settings(path, environ)) as application:
            yield sim, application.doctor


def by_subject(found: list[Examined]) -> dict[str, Examined]:
    return {one.subject: one for one in found}


def sick(found: list[Examined]) -> set[str]:
    return {one.subject for one in found if one.error is not None}


async def test_where_everything_works_each_thing_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    async with surgery(tmp_path) as (sim, examiner):
        found = by_subject(await examiner.examine())
        left = [path for path in (sim.directory / "store").rglob("*") if path.is_file()]
        machine_id = sim.world.find_machine(APP).id
    assert sick(list(found.values())) == set()
    assert set(found) == {
        "state database",
        "Fly token",
        "Fly inventory",
        "exports from snapshots",
        SSH,
        "store offsite",
        "notifier hook",
        "notifier log",
    }
    assert found["Fly token"].detail == "accepted for personal"
    assert found["Fly inventory"].detail == "1 machines, 1 volumes"
    assert found[SSH].detail == f"reached {machine_id}, gnu tar"
    assert left == []


async def test_a_wrong_token_does_not_hide_that_the_store_works(tmp_path: Path) -> None:
    async with surgery(tmp_path, token="FlyV1 fm2_wrong") as (_, examiner):
        found = await examiner.examine()
    assert sick(found) == {"Fly token", "Fly inventory"}
    token = by_subject(found)["Fly token"]
    assert (token.error or "").startswith("fly.unauthorized")
    assert "fly tokens create" in (token.hint or "")


async def test_a_machine_that_refuses_ssh_is_named(tmp_path: Path) -> None:
    async with surgery(tmp_path) as (sim, examiner):
        sim.faults.add(Fault(kind=FaultKind.SSH_REFUSE, action="ssh.connect", times=0))
        found = await examiner.examine()
    assert sick(found) == {SSH}
    assert (by_subject(found)[SSH].error or "").startswith("ssh.failed")


@pytest.mark.parametrize(("trouble", "detail"), [("stopped", "stopped"), ("detached", "missing")])
async def test_a_machine_that_does_not_run_is_not_tried(tmp_path: Path, trouble: str, detail: str) -> None:
    async with surgery(tmp_path) as (sim, examiner):
        machine = sim.world.find_machine(APP)
        if trouble == "stopped":
            sim.world.stop_machine(machine)
        else:
            sim.world.find_volume(APP, "crocbot_data").attached_machine_id = None
            machine.config["mounts"] = []
        found = await examiner.examine()
    assert sick(found) == set()
    assert by_subject(found)[SSH].detail == f"not tried: its machine is {detail}"


async def test_an_incomplete_inventory_is_told(tmp_path: Path) -> None:
    async with surgery(tmp_path) as (sim, examiner):
        sim.world.stop_machine(sim.world.find_machine(APP))
        sim.faults.add(Fault(kind=FaultKind.ERROR_REGIONS, action="org.machines", regions=("fra",)))
        found = await examiner.examine()
    assert by_subject(found)["Fly inventory"].error == "incomplete: no answer from fra"


async def test_without_a_store_and_without_a_notifier_both_are_told(tmp_path: Path) -> None:
    async with surgery(tmp_path) as (sim, examiner):
        sim.world.stop_machine(sim.world.find_machine(APP))
        found = by_subject(await replace(examiner, stores={}, notifiers={}).examine())
    assert found["stores"].error == "none: nothing leaves the platform"
    assert found["notifiers"].error == "none tells people of incidents"


async def test_one_store_alone_can_be_tried(tmp_path: Path) -> None:
    async with surgery(tmp_path, token="FlyV1 fm2_wrong") as (_, examiner):
        report = await examiner.try_store("offsite")
    assert (report.store, report.is_healthy, report.left) == ("offsite", True, ())


class OddStore:
    """A store in memory with one thing wrong."""

    name = "odd"

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong
        self.objects: dict[str, bytes] = {}

    async def put_new(self, key: str, data: bytes) -> None:
        if self.wrong == "full":
            raise StoreError("the disk is full")
        if self.wrong == "silent":
            await asyncio.Event().wait()
        if key in self.objects and self.wrong != "overwrites":
            raise StorePreconditionError("it exists")
        self.objects[key] = data

    async def get(self, key: str) -> bytes:
        return b"other" if self.wrong == "forgets" else self.objects[key]

    async def delete(self, key: str) -> None:
        self.objects.pop(key, None)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("nothing", None),
        ("full", "store.failed: the disk is full"),
        ("forgets", "integrity.failed: the store gave back other bytes"),
        ("overwrites", "store.failed: the store lets an existing object be overwritten"),
        ("silent", "no answer within 0 s"),
    ],
)
async def test_what_is_wrong_with_a_store_is_told_and_its_probe_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, words: str | None
) -> None:
    odd: Any = OddStore(wrong)
    async with surgery(tmp_path) as (_, examiner):
        if wrong == "silent":
            monkeypatch.setattr(doctor, "_LIMIT", timedelta(milliseconds=20))
        bound = BoundStore(odd, StoreOrder(name="odd", type=StoreType.DIRECTORY, path="/nowhere"))
        found = by_subject(await replace(examiner, stores={"odd": bound}).examine())["store odd"]
    if words is None:
        assert found.error is None
    else:
        assert (found.error or "").startswith(words)
    assert odd.objects == {}


async def test_a_store_on_the_platform_and_one_without_deletes_are_told_as_such(tmp_path: Path) -> None:
    order, traits = StoreOrder(name="odd", type=StoreType.DIRECTORY, path="/nowhere"), StoreTraits
    async with surgery(tmp_path) as (_, examiner):
        stores = {
            "bought": BoundStore(MemoryStore(), order, traits(is_on_platform=True)),
            "kept": BoundStore(kept := MemoryStore(), order, traits(are_deletes_refused=True)),
        }
        found = by_subject(await replace(examiner, stores=stores).examine())
    assert "lost together with the Fly account" in found["store bought"].detail
    (probe,) = await kept.list("")
    assert f"{probe.key} stays" in found["store kept"].detail


class LostCatalog:
    """A state database that went away."""

    async def ping(self) -> None:
        raise StateError("the database does not answer")

    def transaction(self) -> Any:
        raise StateError("the database does not answer")


async def test_a_lost_state_database_does_not_hide_the_rest(tmp_path: Path) -> None:
    lost: Any = LostCatalog()
    async with surgery(tmp_path) as (_, examiner):
        found = await replace(examiner, catalog=lost).examine()
    assert sick(found) == {"state database", "targets"}
    assert "store offsite" in by_subject(found)


async def test_a_target_without_copies_needs_no_ssh(tmp_path: Path) -> None:
    def without_store(text: str) -> str:
        start, end = text.index("export = {"), text.index("\n[[targets]]")
        return text[:start] + text[end:]

    async with surgery(tmp_path, edit=without_store) as (_, examiner):
        found = await examiner.examine()
    assert SSH not in by_subject(found)

"""Files back into a running machine, as a person does it, against the simulator."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from flykeep.testing.flysim.model import Machine
from flykeep.testing.flysim.scenario import Scenario
from tests.e2e.warm import WarmKit, warm_flykeep
from tests.flykit import Ended
from tests.integration.worker.importing import compared
from tests.integration.worker.trees import Fact

pytestmark = pytest.mark.asyncio(loop_scope="module")

TARGET = "my-crocbot/crocbot_data"


@dataclass
class Story:
    """What happened to one volume, step by step."""

    kit: WarmKit
    told: dict[str, Ended] = field(default_factory=dict)
    seen: dict[str, dict[bytes, Fact]] = field(default_factory=dict)
    own: dict[str, list[str]] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)

    @property
    def volume(self) -> Path:
        return self.kit.sim.world.find_volume("my-crocbot", "crocbot_data").directory

    @property
    def machine(self) -> Machine:
        return self.kit.sim.world.find_machine("my-crocbot")

    async def tell(self, name: str, *words: str) -> Ended:
        self.told[name] = await self.kit.run(*words, "--json")
        self.look(name)
        return self.told[name]

    def look(self, name: str) -> None:
        self.seen[name] = compared(self.volume)
        self.own[name] = sorted(path.name for path in self.volume.iterdir() if path.name.startswith(".flykeep-"))
        self.starts[name] = sum(event.type == "start" for event in self.machine.events)

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.told[name].document


def spoil(volume: Path) -> None:
    (volume / "crocbot.json").write_text("{ spoiled")
    shutil.rmtree(volume / "credentials")
    (volume / "added-later.txt").write_text("stays")
    (volume / "agents").chmod(0o700)


def evil(path: Path) -> str:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("harmless"))
        archive.addfile(tarfile.TarInfo("../outside"))
    return str(path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    directory = tmp_path_factory.mktemp("import")
    async with warm_flykeep(directory, scenario=Scenario.shipped()) as kit:
        identity = next(
            line
            for line in (kit.sim.directory / "age-identity.txt").read_text().splitlines()
            if line.startswith("AGE-SECRET-KEY-")
        )
        kit.edit("[encryption]\n", '[encryption]\nidentity_secret = "OPERATOR_IDENTITY"\n')
        kit.extra["OPERATOR_IDENTITY"] = identity
        told = Story(kit)
        await an_artifact_comes_back(told)
        await single_files_and_tarballs(told, directory)
        await what_is_refused(told, directory)
        yield told


async def an_artifact_comes_back(told: Story) -> None:
    export_id = (await told.tell("export", "export", TARGET, "--source", "ssh")).document["export_id"]
    spoil(told.volume)
    told.look("spoiled")
    await told.tell("plan", "import", TARGET, "--artifact", export_id, "--plan")
    await told.tell("unasked", "import", TARGET, "--artifact", export_id)
    run = (await told.tell("import", "import", TARGET, "--artifact", export_id, "--yes")).document["import_id"]
    await told.tell("again", "import", TARGET, "--artifact", export_id, "--yes")
    await told.tell("undo", "import", "undo", run, "--yes", "--no-restart")
    await told.tell("confirm", "import", "confirm", run, "--yes")
    await told.tell("twice", "import", "undo", run, "--yes")


async def single_files_and_tarballs(told: Story, directory: Path) -> None:
    export_id = told["export"]["export_id"]
    words = ("--artifact", export_id, "--path", "crocbot.json", "--no-restart", "--yes")
    one = (await told.tell("one file", "import", TARGET, *words)).document["import_id"]
    await told.tell("one confirmed", "import", "confirm", one, "--yes")
    archive = directory / "backup.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(told.volume / "crocbot.json", "agents/restored.json")
    await told.tell("tarball", "import", TARGET, str(archive), "--yes")
    await told.tell("tarball confirmed", "import", "confirm", told["tarball"]["import_id"], "--yes")


async def what_is_refused(told: Story, directory: Path) -> None:
    await told.tell("evil", "import", TARGET, evil(directory / "evil.tar"), "--yes")
    await told.tell("no file", "import", TARGET, str(directory / "nowhere.tar"), "--yes")
    await told.tell("nothing", "import", TARGET, "--yes")
    world, machine = told.kit.sim.world, told.machine
    world.hold_lease(machine)
    await told.tell("held", "import", TARGET, str(directory / "backup.tar.gz"), "--yes")
    machine.lease = None
    machine.state = "stopped"
    await told.tell("stopped", "import", TARGET, str(directory / "backup.tar.gz"), "--yes")


async def test_the_plan_says_what_would_happen_and_changes_nothing(story: Story) -> None:
    plan = story["plan"]["plan"]

    assert story.told["plan"].code == 0
    assert (plan["directory"], plan["restart"], plan["source"][:8]) == (str(story.machine.mount_path), True, "artifact")
    assert story.seen["plan"] == story.seen["spoiled"]


async def test_nothing_is_replaced_unless_somebody_agreed(story: Story) -> None:
    assert story.told["unasked"].code == 2
    assert "--yes" in story["unasked"]["error"]["hint"]
    assert story.seen["unasked"] == story.seen["spoiled"]
    assert not story.own["unasked"]


async def test_an_artifact_brings_every_byte_back_and_the_machine_restarts(story: Story) -> None:
    good, after = story.seen["export"], story.seen["import"]

    assert story.told["import"].code == 0
    assert {path: after[path] for path in good} == good
    assert after.keys() - good.keys() == {b"added-later.txt"}
    assert story["import"]["result"]["health"] == "started, and it has no checks"
    assert story.starts["import"] == story.starts["unasked"] + 1
    assert story["import"]["result"]["files"] > 10


async def test_a_second_import_waits_for_the_first_to_be_decided(story: Story) -> None:
    assert story.told["again"].code == 4
    assert "import confirm" in story["again"]["error"]["hint"]
    assert story.seen["again"] == story.seen["import"]


async def test_undo_brings_the_spoiled_state_back_and_confirm_leaves_nothing(story: Story) -> None:
    assert story.told["undo"].code == 0
    assert story.seen["undo"] == story.seen["spoiled"]
    assert story.starts["undo"] == story.starts["import"]
    assert story.own["undo"]
    assert story.told["confirm"].code == 0
    assert not story.own["confirm"]
    assert story.seen["confirm"] == story.seen["spoiled"]
    assert story.told["twice"].code == 2


async def test_one_path_touches_only_that_file(story: Story) -> None:
    before, after, good = story.seen["spoiled"], story.seen["one file"], story.seen["export"]

    assert story.told["one file"].code == 0
    assert {path for path in after if after[path] != before.get(path)} == {b"crocbot.json"}
    assert after[b"crocbot.json"] == good[b"crocbot.json"]
    assert story.starts["one file"] == story.starts["twice"]
    assert not story.own["one confirmed"]


async def test_a_tarball_brings_only_what_it_holds(story: Story) -> None:
    before, after = story.seen["one confirmed"], story.seen["tarball"]

    assert story.told["tarball"].code == 0
    assert after.keys() - before.keys() == {b"agents/restored.json"}
    assert after[b"agents"].mode == 0o700
    assert story.starts["tarball"] == story.starts["one file"] + 1


async def test_an_unsafe_tarball_is_refused_and_nothing_is_written(story: Story) -> None:
    assert story.told["evil"].code == 7
    assert story["evil"]["error"]["code"] == "integrity.unsafe"
    assert story.seen["evil"] == story.seen["tarball confirmed"]
    assert not story.own["evil"]


@pytest.mark.parametrize(("name", "code"), [("no file", 2), ("nothing", 2), ("held", 4), ("stopped", 4)])
async def test_what_cannot_be_imported_is_refused_before_anything_happens(story: Story, name: str, code: int) -> None:
    assert story.told[name].code == code
    assert story[name]["error"]["hint"]
    assert story.seen[name] == story.seen["tarball confirmed"]
    assert not story.own[name]

"""A lost app is rebuilt by following its runbook, as it lies in the store, block by block; flykeep takes no part."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flykeep.domain.page import command_blocks
from flykeep.domain.policy import JobKind
from flykeep.testing.flysim.model import Machine
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Seed, SnapshotSpec, VolumeSpec
from tests.full import full
from tests.integration.runbook.person import Followed, Person, person
from tests.integration.scratch.home import SHOP, Home, ended_well, home

PROGRAMS = ("age", "zstd", "tar", "bash", "openssl", "xxd")
SECRETS = {"PAYMENT_KEY": "k-7c1f", "MOTD": 'two lines, "quoted"\n# and a hash'}
SECRETS_FILE = 'PAYMENT_KEY=k-7c1f\nMOTD="""two lines, "quoted"\n# and a hash"""\n'
_CHECK = {"type": "http", "port": 8080, "path": "/", "interval": 15 * 10**9, "timeout": 15 * 10**8}  # as Fly shows them
_SHOP = AppSpec(
    name="shop",
    network="backstage",
    secrets=SECRETS,
    addresses=("shared_v4", "v6"),
    certificates=("shop.example.com",),
    machines=(
        MachineSpec(name="calm-sea-1", volume="shop_data", env={"PORT": "8080"}, checks={"alive": dict(_CHECK)}),
        MachineSpec(name="web-1", services=({"protocol": "tcp", "internal_port": 80, "checks": [dict(_CHECK)]},)),
    ),
    volumes=(VolumeSpec(name="shop_data", seed=Seed(kind="crocbot", count=2), snapshots=(SnapshotSpec(age_hours=2),)),),
)
SCENARIO = SHOP.model_copy(
    update={
        "apps": (_SHOP, *SHOP.apps[1:]),
        "check_polls": 3,
        "new_machine_hidden_gets": 0,  # a person's minutes pass between two blocks
    }
)


@dataclass
class Disaster:
    """What was there before, and what is left: the store with its page, and a person."""

    home: Home
    person: Person
    page: str
    tree: Path
    machines: dict[str, dict[str, Any]]

    @property
    def app(self) -> Any:
        return self.home.sim.world.apps["shop"]

    def machine(self, name: str) -> Machine:
        found = [m for m in self.home.sim.world.machines_of("shop") if m.name == name and m.state != "destroyed"]
        assert len(found) == 1
        return found[0]

    def differences(self) -> str:
        """What `diff` says of the volume and the tree that was lost."""
        volume = self.home.sim.world.find_volume("shop", "shop_data").directory
        done = subprocess.run(
            ["diff", "-r", "--no-dereference", self.tree, volume], capture_output=True, text=True, check=False
        )
        return done.stdout

    def modes(self, root: Path) -> dict[str, tuple[int, int, int]]:
        """Permissions, owner and whole seconds of every entry."""
        stats = {path: path.lstat() for path in root.rglob("*")}
        return {str(path.relative_to(root)): (s.st_mode, s.st_uid, int(s.st_mtime)) for path, s in stats.items()}


def opened(here: Home, folder: Path) -> str:
    """The page as somebody with `age` and the key opens it, after the checks that RESTORE.md tells them to make."""
    folder.mkdir()
    store = here.sim.directory / "store"
    shutil.copy(store / "_runbooks" / "shop.md.zst.age", folder)
    blocks = command_blocks((store / "RESTORE.md").read_text())
    environment = {"PATH": "/usr/bin:/bin", "APP": "shop", "IDENTITY": str(here.sim.directory / "age-identity.txt")}
    script = blocks["open-runbook"] + blocks["check-runbook"]
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Signature Verified Successfully" in done.stdout
    return (folder / "signed-bytes").read_text()


@pytest.fixture
async def disaster(tmp_path: Path) -> AsyncIterator[Disaster]:
    """The app's backups were made by the program; its page lies in the store; its volume's contents are kept aside."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    async with home(tmp_path / "h", scenario=SCENARIO) as here, person(tmp_path / "p", here.sim) as somebody:
        ended_well(await here.run(JobKind.CHECK))
        ended_well(await here.export(source="ssh"))
        tree, world = tmp_path / "tree", here.sim.world
        world.copy_tree(here.volume.directory, tree)
        machines = {machine.name: machine.config for machine in world.machines_of("shop")}
        somebody.brings("shop", "identity.txt", (here.sim.directory / "age-identity.txt").read_text())
        somebody.brings("shop", "secrets.env", SECRETS_FILE)
        yield Disaster(here, somebody, opened(here, tmp_path / "opened"), tree, machines)


def from_the_artifact(name: str) -> bool:
    return "snapshot" not in name


def from_a_snapshot(name: str) -> bool:
    """The app is still there, so steps 2 to 4 are skipped, as the page says."""
    taken = {"folder", "tools", "look", "snapshots-1", "volume-1-from-snapshot", "machine-1", "machine-2", "health"}
    return name in taken


def assert_is_as_it_was(disaster: Disaster, done: Followed) -> None:
    assert done.code == 0, (done.last, done.stderr)
    assert disaster.differences() == ""
    volume = disaster.home.sim.world.find_volume("shop", "shop_data")
    assert disaster.modes(volume.directory) == disaster.modes(disaster.tree)
    for name, before in disaster.machines.items():
        machine = disaster.machine(name)
        assert machine.state == "started"
        assert comparable(machine.config) == comparable(before)
    assert disaster.machine("calm-sea-1").volume_id == volume.id
    assert "calm-sea-1\talive\tpassing" in done.printed["health"]


def comparable(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what has a new id, and without what flyctl adds empty; images are pinned by then."""
    mounts = [{key: mount[key] for key in mount if key != "volume"} for mount in config.get("mounts", ())]
    kept = {key: value for key, value in config.items() if value not in ({}, []) and key not in {"mounts", "image"}}
    return kept | {"mounts": mounts}


async def test_an_app_that_is_gone_with_its_snapshots_is_rebuilt_from_its_artifact(disaster: Disaster) -> None:
    here, world = disaster.home, disaster.home.sim.world
    shutil.rmtree(here.volume.directory)
    world.remove_app("shop")

    done = await disaster.person.follow(disaster.page, from_the_artifact)

    assert_is_as_it_was(disaster, done)
    assert "shop\t" not in done.printed["look"]
    assert done.printed["fill-1-offsite"] == "ALL OF IT WAS SENT\n"
    assert done.printed["count-1-offsite"].strip() in expected(disaster.page, "count-1-offsite")
    assert done.printed["secrets-check"] == ""
    assert disaster.app.network == "backstage"
    assert {name: secret.value for name, secret in disaster.app.secrets.items()} == SECRETS
    assert [address.kind for address in disaster.app.addresses] == ["v6", "shared_v4"]
    assert list(disaster.app.certificates) == ["shop.example.com"]
    assert {machine.name for machine in world.machines_of("shop") if machine.state != "destroyed"} == {
        *disaster.machines
    }


async def test_a_lost_volume_is_brought_back_from_a_snapshot_that_has_survived(disaster: Disaster) -> None:
    world, volume = disaster.home.sim.world, disaster.home.volume
    for machine in world.machines_of("shop"):
        machine.state = "destroyed"
        world.tell(machine)
    (volume.directory / "crocbot.json").unlink()
    volume.state, volume.attached_machine_id = "pending_destroy", None

    done = await disaster.person.follow(disaster.page, from_a_snapshot)

    assert_is_as_it_was(disaster, done)
    assert "shop\t" in done.printed["look"]
    assert volume.snapshots[0].id in done.printed["snapshots-1"]


def expected(page: str, block: str) -> str:
    return page.split(f"```sh {block}\n")[1].split("*Expect:* ")[1].split("\n", maxsplit=1)[0]


SPOILED = (
    ("app", "apps create", "apps make", "unknown command: fly apps make"),
    ("volume-1-empty", "--region iad", "--regoin iad", "unknown flag: --regoin"),
    ("helper-1", "$(cat volume-1.id)", "vol_0", "volume not found"),
    ("fill-1-offsite", "age -d -i identity.txt", "age -d -i secrets.env", "age: error"),
    ("machine-1", "--machine-config machine-1.json", "--machine-config machine-1", "invalid machine config"),
)


@full("five ways that are spoiled")
async def test_a_spoiled_command_ends_the_way_where_it_stands_and_the_right_one_goes_on_from_there(
    disaster: Disaster,
) -> None:
    disaster.home.sim.world.remove_app("shop")
    names = [name for name in command_blocks(disaster.page) if from_the_artifact(name)]
    begin = 0
    for block, right, wrong, complaint in SPOILED:
        text = command_blocks(disaster.page)[block]
        assert right in text
        left = {"folder", *names[begin:]}

        done = await disaster.person.follow(disaster.page.replace(text, text.replace(right, wrong)), left.__contains__)

        assert done.code != 0
        assert done.last == block
        assert complaint in done.stderr
        begin = names.index(block)
    done = await disaster.person.follow(disaster.page, {"folder", *names[begin:]}.__contains__)
    assert_is_as_it_was(disaster, done)

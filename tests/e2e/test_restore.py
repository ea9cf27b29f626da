"""The restore of a spoiled volume as a person does it, on a simulated Fly: what serves, what is kept, what goes."""

from __future__ import annotations

import copy
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flykeep.cli.opening import compare_trees
from flykeep.testing.flysim.model import Machine, Volume
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Progress, Scenario, Seed, SnapshotSpec, VolumeSpec
from tests.e2e.nursery import Household, Nursery
from tests.flykit import flykeep
from tests.integration.scratch.home import SCRATCH_APP, SPEED

TARGET = "my-crocbot/crocbot_data"
CROCBOT = Scenario(
    rate_limits=False,
    snapshot_progress=Progress(polls=0, seconds=None),
    apps=(
        AppSpec(
            name="my-crocbot",
            secrets={"BOT_KEY": "croc-key-41aa90c2"},
            machines=(
                MachineSpec(
                    name="calm-sea-1",
                    volume="crocbot_data",
                    services=({"internal_port": 8080, "protocol": "tcp", "autostart": True, "autostop": "off"},),
                    checks={"alive": {"type": "tcp", "port": 8080, "interval": 15_000_000_000}},
                ),
            ),
            volumes=(
                VolumeSpec(
                    name="crocbot_data", seed=Seed(kind="crocbot", count=2), snapshots=(SnapshotSpec(age_hours=2),)
                ),
            ),
        ),
        AppSpec(name=SCRATCH_APP, network=SCRATCH_APP),
    ),
)


@pytest.fixture
async def house(tmp_path: Path, nursery: Nursery) -> AsyncIterator[Household]:
    async with flykeep(tmp_path, scenario=CROCBOT) as kit:
        yield Household(kit, nursery, speed=SPEED)
        await nursery.clear()


def spoil(volume: Volume) -> None:
    """What a bad migration does: folders gone, a file cut short."""
    for child in volume.directory.iterdir():
        if child.is_dir():
            shutil.rmtree(child)
        else:
            child.write_bytes(b"spoiled")


def machines_of(house: Household) -> dict[str, Machine]:
    return {one.id: one for one in house.sim.world.machines_of("my-crocbot") if one.state != "destroyed"}


def volumes_of(house: Household) -> dict[str, Volume]:
    return {one.id: one for one in house.sim.world.volumes_of("my-crocbot") if one.state != "pending_destroy"}


def without_volume(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with nothing said of which volume it mounts."""
    found = copy.deepcopy(config)
    for mount in found["mounts"]:
        del mount["volume"]
    return found


async def test_a_spoiled_volume_is_restored_from_its_newest_snapshot_undone_and_finalized(
    house: Household, tmp_path: Path
) -> None:
    (old,), (spoiled,) = machines_of(house).values(), volumes_of(house).values()
    good, bad, before = tmp_path / "good", tmp_path / "bad", copy.deepcopy(old.config)
    shutil.copytree(spoiled.directory, good, symlinks=True)
    spoil(spoiled)
    shutil.copytree(spoiled.directory, bad, symlinks=True)

    planned = await house.verb("restore", TARGET, "--snapshot", "latest", "--plan", "--json")
    assert planned.code == 0, planned.stderr
    assert planned.document["plan"]["old_machine_id"] == old.id
    assert machines_of(house).keys() == {old.id}

    ended = await house.verb("restore", TARGET, "--snapshot", "latest", "--yes", "--json")
    assert ended.code == 0, ended.stderr
    result = ended.document["result"]
    new = machines_of(house)[result["machine_id"]]
    volume = volumes_of(house)[result["volume_id"]]
    compare_trees(good, volume.directory)
    assert (new.name, new.region, new.state, new.is_cordoned) == (old.name, old.region, "started", False)
    assert without_volume(new.config) == without_volume(before)
    assert result["health"] == "healthy"
    assert (old.state, spoiled.attached_machine_id) == ("stopped", old.id)

    undone = await house.verb("restore", "undo", ended.document["restore_id"], "--yes", "--json")
    assert undone.code == 0, undone.stderr
    compare_trees(bad, spoiled.directory)
    assert (old.config, old.state, old.is_cordoned) == (before, "started", False)
    assert machines_of(house).keys() == {old.id}
    assert volumes_of(house).keys() == {spoiled.id}

    again = await house.verb("restore", TARGET, "--snapshot", result["source"].split()[1], "--yes", "--json")
    assert again.code == 0, again.stderr
    over = await house.verb("restore", "finalize", again.document["restore_id"], "--yes", "--json")
    assert over.code == 0, over.stderr
    assert machines_of(house).keys() == {again.document["result"]["machine_id"]}
    assert volumes_of(house).keys() == {again.document["result"]["volume_id"]}

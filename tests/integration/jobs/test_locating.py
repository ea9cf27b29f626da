"""A run starts from where its volume is now, not from where the last check saw it."""

from pathlib import Path

import pytest

from flykeep.testing.flysim.scenario import Scenario
from tests.e2e.warm import warm_flykeep
from tests.flykit import Kit
from tests.full import full

_ONE = """
org = "personal"
region = "iad"
rate_limits = false
snapshot_progress = { polls = 1, seconds = 1, need = "either" }

[[apps]]
name = "my-crocbot"

[[apps.machines]]
name = "quiet-river-1"
volume = "crocbot_data"
mount = "/data"

[[apps.volumes]]
name = "crocbot_data"
seed = { kind = "files", count = 3 }
snapshots = [{ age_hours = 6 }]
"""


@pytest.mark.parametrize("verb", ["export", pytest.param("snapshot", marks=full("as an export"))])
async def test_a_run_follows_a_volume_that_moved_since_the_last_check(tmp_path: Path, verb: str) -> None:
    async with warm_flykeep(tmp_path, scenario=Scenario.from_toml(_ONE)) as kit:
        assert (await kit.run("check")).code == 0
        moved_to = await _migrate(kit)

        ended = await kit.run(verb, "my-crocbot", "--json")

        assert ended.code == 0, ended.stderr
        run = (await kit.run("runs", ended.document["run_id"], "--json")).document
        assert "look where the volume is now" in [step["name"] for step in run["steps"]]
        if verb == "snapshot":
            assert run["result"]["volume_id"] == moved_to


async def test_a_volume_that_is_nowhere_is_refused_by_the_job_itself(tmp_path: Path) -> None:
    async with warm_flykeep(tmp_path, scenario=Scenario.from_toml(_ONE)) as kit:
        assert (await kit.run("check")).code == 0
        kit.sim.world.remove_volume(kit.sim.world.find_volume("my-crocbot", "crocbot_data"))

        ended = await kit.run("snapshot", "my-crocbot", "--json")

        assert ended.code in {4, 5}
        assert ended.document["error"]["facts"]["app"] == "my-crocbot"


async def _migrate(kit: Kit) -> str:
    world = kit.sim.world
    volume = world.migrate(world.find_volume("my-crocbot", "crocbot_data"))
    await kit.sim.ssh.settled()
    return volume.id

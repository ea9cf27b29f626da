"""A copy into another app, as a person makes it, against the simulator."""

from __future__ import annotations

from pathlib import Path

from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Scenario, Seed, VolumeSpec
from tests.e2e.warm import warm_flykeep
from tests.full import full
from tests.integration.scratch.home import SHOP, TARGET
from tests.integration.worker.importing import compared

WITH_STAGING = Scenario(
    rate_limits=False,
    snapshot_progress=SHOP.snapshot_progress,
    apps=(
        *SHOP.apps,
        AppSpec(
            name="staging",
            machines=(MachineSpec(name="calm-sea-1", volume="shop_data"),),
            volumes=(VolumeSpec(name="shop_data", seed=Seed(kind="crocbot", count=1)),),
        ),
    ),
)


@full("a copy, from the command line")
async def test_a_copy_is_planned_refused_and_made_and_the_source_is_only_read(tmp_path: Path) -> None:
    async with warm_flykeep(tmp_path, scenario=WITH_STAGING) as kit:
        words = ("restore", TARGET, "--snapshot", "latest", "--json")
        planned = await kit.run(*words, "--to", "staging", "--with-config", "--plan")
        assert planned.document["plan"]["calls"][0].startswith("create volume shop_data in staging")
        assert (await kit.run(*words, "--to", "shop", "--yes")).code == 4
        assert (await kit.run(*words, "--with-config", "--plan")).code == 2
        before = len(kit.sim.requests)
        made = await kit.run(*words, "--to", "staging", "--with-config", "--launch", "--yes")
        assert made.code == 0, made.stderr
        result = made.document["result"]
        assert {one.method for one in kit.sim.requests[before:] if one.app == "shop"} <= {"GET"}
        copy = kit.sim.world.volumes[result["volume_id"]]
        assert compared(copy.directory) == compared(kit.sim.world.find_volume("shop", "shop_data").directory)
        assert kit.sim.world.machines[result["machine"]["machine_id"]].state == "started"
        assert any("stays unattached" in note for note in result["notes"])

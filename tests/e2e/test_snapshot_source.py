"""Exports from snapshots as people meet them: by the daemon's schedule and from the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.nursery import Household, Nursery
from tests.flykit import flykeep
from tests.full import full
from tests.integration.scratch.home import SCRATCH_APP, SHOP, SPEED, TARGET


@pytest.fixture
async def house(tmp_path: Path, nursery: Nursery) -> AsyncIterator[Household]:
    async with flykeep(tmp_path, scenario=SHOP) as kit:
        yield Household(kit, nursery, speed=SPEED)
        await nursery.clear()


def left_in_scratch(house: Household) -> set[str]:
    world = house.sim.world
    machines = {one.name for one in world.machines_of(SCRATCH_APP) if one.state != "destroyed"}
    return machines | {one.name for one in world.volumes_of(SCRATCH_APP) if one.state != "pending_destroy"}


@full("a daemon of its own")
async def test_the_daemon_exports_from_snapshots_where_the_policy_leaves_it_the_choice(house: Household) -> None:
    house.kit.edit('source = "ssh"', 'source = "auto"')
    house.kit.edit("[policies.standard]", '[daemon]\njitter = "0s"\n\n[policies.standard]')
    await house.meet_volumes(ago=timedelta(days=30))
    await house.live_until_rest()
    artifacts = (await house.left()).artifacts
    assert {(one.manifest.origin.app, one.manifest.origin.source) for one in artifacts} == {
        ("shop", "snapshot"),
        ("attic", "snapshot"),
    }
    assert left_in_scratch(house) == set()


async def test_the_command_line_exports_from_a_snapshot_and_refuses_where_no_worker_could_store_it(
    house: Household,
) -> None:
    words = ("export", TARGET, "--source", "snapshot", "--json")
    made = await house.verb(*words)
    assert made.code == 0, made.stderr
    assert made.document["result"]["consistency"] == "snapshot"
    assert left_in_scratch(house) == set()
    house.kit.edit("visible_to_workers = true\n", "")
    refused = await house.verb(*words)
    assert refused.code == 4
    assert "visible_to_workers" in refused.document["error"]["message"]
    assert "--source ssh" in refused.document["error"]["hint"]

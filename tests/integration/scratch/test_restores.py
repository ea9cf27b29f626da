"""A restore on a simulated Fly: what it asks before the new volume has been looked at."""

from __future__ import annotations

import copy
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flykeep.cli.targets import find_lineage
from flykeep.domain.ids import SnapshotId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest, RunState
from flykeep.jobs.runner import Watcher
from tests.integration.scratch.home import TARGET, Home, home


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Home]:
    async with home(tmp_path) as made:
        yield made


async def restore(shop: Home, snapshot: str) -> Run:
    lineage = await find_lineage(shop.application, TARGET)
    request, submission = RunRequest(snapshot_id=SnapshotId(snapshot)), shop.application.submission
    async with submission.submitted(JobKind.RESTORE, lineage.id, request, is_local=True) as run:
        return await submission.see_through(run, watcher=Watcher())


async def test_a_volume_that_is_not_what_it_must_be_never_touches_the_running_machine(shop: Home) -> None:
    machine, volume = shop.machine, shop.volume
    before, (kept,) = copy.deepcopy(machine.config), volume.snapshots
    for child in (shop.sim.directory / "snapshots" / kept.id).iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    asked = len(shop.sim.requests)

    run = await restore(shop, kept.id)

    assert run.state is RunState.FAILED
    assert run.outcome is not None
    assert run.outcome.failure is not None
    assert run.outcome.failure.code == "integrity.failed"
    changes = [one for one in shop.sim.requests[asked:] if one.method != "GET" and machine.id in one.path]
    assert changes == []
    assert (machine.config, machine.state, machine.is_cordoned) == (before, "started", False)
    living = [one.id for one in shop.sim.world.volumes_of("shop") if one.state != "pending_destroy"]
    assert living == [volume.id]
    assert [one.id for one in shop.sim.world.machines_of("shop") if one.state != "destroyed"] == [machine.id]

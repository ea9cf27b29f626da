"""Exports from snapshots by real worker machines: the same contents, and production is never touched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flykeep.domain.artifact import Consistency
from flykeep.domain.run import Run
from flykeep.testing.flysim import serve
from flykeep.testing.flysim.commands import Isolation
from flykeep.testing.flysim.faults import Fault, FaultKind
from tests.full import full
from tests.integration.scratch.home import SCRATCH_APP, Home, ended_well, home


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Home]:
    async with home(tmp_path) as running:
        yield running


def assert_is_left_alone_by_deploys_and_apps(fly: Home, run: Run) -> None:
    """The temporary machine and volume of the run are no part of anybody's app."""
    (machine,) = fly.workers()
    assert machine.app == SCRATCH_APP
    assert machine.config["metadata"] == {"fly_process_group": "flykeep_worker", "flykeep_run": run.id}
    assert machine.config["restart"] == {"policy": "no"}
    assert machine.config["dns"] == {"skip_registration": True}
    assert not machine.config["services"]
    assert machine.is_without_secrets
    (made,) = [request for request in fly.sim.requests if request.action == "volume.create"]
    assert made.body["require_unique_zone"] is False
    assert made.body["auto_backup_enabled"] is False
    assert made.body["compute"] == machine.config["guest"]


async def test_both_sources_give_the_same_contents_and_a_snapshot_is_read_without_changing_production(
    fly: Home,
) -> None:
    ended_well(await fly.export(source="ssh"))
    before = len(fly.sim.requests)
    run = ended_well(await fly.export(source="snapshot"))
    assert_is_left_alone_by_deploys_and_apps(fly, run)
    live, snapshot = await fly.artifacts()
    assert (live.manifest.origin.source, live.manifest.consistency) == ("ssh", Consistency.LIVE)
    assert (snapshot.manifest.origin.source, snapshot.manifest.consistency) == ("snapshot", Consistency.SNAPSHOT)
    assert snapshot.manifest.origin.snapshot_id == fly.volume.snapshots[0].id
    entries = await fly.entries(snapshot)
    assert entries == await fly.entries(live)
    assert sum(entry.sha256 is not None for entry in entries) > 20
    asked = fly.sim.requests[before:]
    assert {request.method for request in asked if request.app == "shop"} == {"GET"}
    # Whatever names no app of its own, GraphQL too, was not asked either, but for readings of the organization.
    assert {request.method for request in asked if request.app != SCRATCH_APP} == {"GET"}
    assert fly.left() == set()


_ALIKE = full("a suspended app is exported as a stopped one is")


@pytest.mark.parametrize("state", ["stopped", pytest.param("suspended", marks=_ALIKE)])
async def test_an_app_that_does_not_run_is_exported_and_stays_as_it_was(fly: Home, state: str) -> None:
    fly.machine.state = state
    ended_well(await fly.export())
    assert fly.machine.state == state
    assert {request.method for request in fly.asked("shop")} == {"GET"}
    assert len(await fly.entries((await fly.artifacts())[0])) > 20
    assert fly.left() == set()


async def test_a_volume_that_no_machine_mounts_is_exported(fly: Home) -> None:
    ended_well(await fly.export("attic/boxes"))
    assert (await fly.artifacts())[0].manifest.totals.files > 20
    assert fly.left() == set()


async def test_guest_sizes_then_regions_are_walked_where_there_is_no_room(tmp_path: Path) -> None:
    async with home(tmp_path, edits=[("[worker]", '[scratch]\nregions = ["ams"]\n\n[worker]')]) as fly:
        fly.sim.faults.add(
            Fault(kind=FaultKind.CAPACITY, action="volume.create"),
            Fault(kind=FaultKind.CAPACITY, action="machine.create", times=2, status=412),
            Fault(kind=FaultKind.CAPACITY, action="machine.create", times=1),
        )
        run = ended_well(await fly.export())
        tried = [
            (request.body["region"], request.body["compute"]["cpu_kind"], request.body["compute"]["memory_mb"])
            for request in fly.sim.requests
            if request.action == "volume.create"
        ]
        assert tried == [
            ("iad", "shared", 512),
            ("iad", "shared", 1024),
            ("iad", "shared", 1024),
            ("iad", "performance", 2048),
            ("ams", "shared", 512),
        ]
        assert (await fly.steps(run)).count("no room") == 4
        assert fly.left() == set()


@full("it repeats an export where the simulator may mount nothing")
@pytest.mark.parametrize("isolation", [Isolation.USER, Isolation.NONE], ids=lambda one: one.name)
async def test_an_export_works_with_whatever_the_host_lets_the_simulator_do(
    tmp_path: Path, isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "detect_isolation", lambda: isolation)
    async with home(tmp_path) as fly:
        ended_well(await fly.export("attic/boxes"))
        assert (await fly.artifacts())[0].manifest.totals.files > 20
        assert fly.left() == set()

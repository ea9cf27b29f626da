"""Copies into another app by real worker machines: the contents are there, and the source is only read."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest

from flykeep.cli.acting import exit_code
from flykeep.cli.context import Common
from flykeep.cli.restore_copy import CopyWish, copy_to_app
from flykeep.cli.targets import find_lineage
from flykeep.domain.candidates import CandidateKind
from flykeep.domain.errors import UsageError
from flykeep.domain.ids import AppName, SnapshotId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest, RunState
from flykeep.jobs.restore_copy import CopyJob
from flykeep.jobs.runner import Watcher
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.model import Volume
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Seed, VolumeSpec
from tests.full import full
from tests.integration.scratch.home import SHOP, TARGET, Home, ended_well, home
from tests.object_stores import ACCESS_KEY, SECRET_KEY, S3Server

STAGING = SHOP.model_copy(
    update={
        "apps": (
            *SHOP.apps,
            AppSpec(
                name="staging",
                machines=(MachineSpec(name="calm-sea-1", volume="shop_data"),),
                volumes=(VolumeSpec(name="shop_data", seed=Seed(kind="crocbot", count=1)),),
            ),
        )
    }
)
PROBES = '\nprobes = [{ kind = "json", path = "crocbot.json" }]\n'
IDENTITY = ("[encryption]\n", '[encryption]\nidentity_secret = "AGE_IDENTITY"\n')


async def copy(fly: Home, **asked: Any) -> tuple[Run, dict[str, Any]]:
    """A run of `restore --to staging`; of the source app nothing was asked but what it holds."""
    lineage = await find_lineage(fly.application, TARGET)
    before, submission = len(fly.sim.requests), fly.application.submission
    request = RunRequest(to_app=AppName("staging"), **asked)
    async with submission.submitted(JobKind.RESTORE, lineage.id, request, is_local=True) as submitted:
        run = await submission.see_through(submitted, watcher=Watcher())
    since = fly.sim.requests[before:]
    assert {one.method for one in since if one.app == "shop"} <= {"GET"}
    assert fly.left() == set()
    assert [one for one in fly.workers() if one.state != "destroyed"] == []
    return run, json.loads(run.outcome.result_json) if run.outcome else {}


def tree_of(root: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Every entry below, with what is promised of it."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, int(status.st_mtime), content)
    return found


def copies(fly: Home) -> list[Volume]:
    there = fly.sim.world.volumes_of("staging")
    return [one for one in there if one.state != "pending_destroy" and one.id != own(fly).id]


def own(fly: Home) -> Volume:
    """The volume that the staging app had from the beginning."""
    return next(one for one in fly.sim.world.volumes_of("staging") if one.attached_machine_id is not None)


def a_snapshot(fly: Home) -> SnapshotId:
    return SnapshotId(fly.volume.snapshots[0].id)


@pytest.fixture
async def fly(tmp_path: Path) -> AsyncIterator[Home]:
    edits = [(f'match = "{TARGET}"\n', f'match = "{TARGET}"{PROBES}')]
    async with home(tmp_path, scenario=STAGING, edits=edits) as running:
        yield running


async def test_a_person_sees_what_will_be_done_and_nothing_is_done_unasked(
    fly: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    ended_well(await fly.export())
    capsys.readouterr()
    wish = CopyWish("staging", is_with_config=True, is_plan=True, size_gb=7)
    assert await asked(fly, wish, is_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["plan"]["app"], document["plan"]["size_gb"]) == ("staging", 7)
    assert "config_json" not in document["plan"]["machine"]
    assert await asked(fly, wish) == 0
    shown = capsys.readouterr().out
    assert "copy of shop/shop_data into staging; nothing of shop/shop_data is touched" in shown
    assert "1. create volume shop_data in staging" in shown
    with pytest.raises(UsageError, match="none is made"):
        await asked(fly, CopyWish("staging", is_launching=True))
    with pytest.raises(UsageError, match="are for copies"):
        await asked(fly, CopyWish(None, is_with_config=True))
    with pytest.raises(UsageError, match="nobody can answer here"):
        await asked(fly, replace(wish, is_plan=False))
    assert copies(fly) == []
    await assert_copied(fly, replace(wish, is_plan=False, is_agreed=True, is_local=True), capsys)


async def asked(fly: Home, wish: CopyWish, *, is_json: bool = False) -> int:
    lineage = await find_lineage(fly.application, TARGET)
    choice = await fly.application.candidates.choose(lineage, "latest", kind=CandidateKind.SNAPSHOT)
    options = Common(None, is_json=is_json, is_verbose=False)
    return await copy_to_app(fly.application, options, lineage, choice, wish)


async def assert_copied(fly: Home, wish: CopyWish, capsys: pytest.CaptureFixture[str]) -> None:
    """A snapshot is copied with its machine, and the source only read."""
    before, since = tree_of(fly.volume.directory), len(fly.sim.requests)
    capsys.readouterr()
    assert await asked(fly, wish) == 0
    assert {one.method for one in fly.sim.requests[since:] if one.app == "shop"} == {"GET"}
    (made,) = copies(fly)
    assert tree_of(made.directory) == before == tree_of(fly.volume.directory)
    assert (made.name, made.size_gb, own(fly).state) == ("shop_data", 7, "created")
    (machine,) = [one for one in fly.sim.world.machines_of("staging") if one.id == made.attached_machine_id]
    assert (machine.name, machine.state) == ("calm-sea-1", "created")
    assert "@sha256:" in machine.config["image"]
    told = " ".join(capsys.readouterr().out.split())
    assert f"is in volume {made.id} (7 GB in {made.region}) of staging" in told
    assert "1 of 1 probes passed, compared with artifact" in told
    assert "mounts it: created" in told
    assert f"--attach-volume {made.id}:" in told


async def test_a_copy_that_dies_half_way_is_removed_by_reconcile_and_nothing_else_is(fly: Home) -> None:
    copying = fly.application.copies
    assert copying.planner.filler is not None
    before = {one.id for one in fly.sim.world.volumes_of("staging")}
    lineage = await find_lineage(fly.application, TARGET)
    request = RunRequest(to_app=AppName("staging"), snapshot_id=a_snapshot(fly))
    async with fly.application.submission.submitted(JobKind.RESTORE, lineage.id, request, is_local=True) as run:
        going = asyncio.create_task(fly.application.submission.see_through(run, watcher=Watcher()))
        while not any(one.state == "started" for one in fly.workers()):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
        fly.sim.faults.add(Fault(kind=FaultKind.RESET_BEFORE, times=0))  # the network is gone for good
        fly.clock.hurry(2000)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
    fly.clock.hurry()
    fly.sim.faults.clear()
    assert len(copies(fly)) == 1
    report = await fly.application.reconcile.reconcile(is_applied=True)
    assert [left.action for left in report.copies] == ["remove"]
    assert {one.id for one in fly.sim.world.volumes_of("staging") if one.state != "pending_destroy"} == before
    assert [one for one in fly.workers() if one.state != "destroyed"] == []


def use_identity(fly: Home, identity: str) -> None:
    copying = fly.application.copies
    assert copying.planner.filler is not None
    prober = copying.planner.filler.prober
    keys = replace(prober.keys, identity=lambda: identity)
    filler = replace(copying.planner.filler, prober=replace(prober, keys=keys))
    changed: CopyJob = replace(copying, planner=replace(copying.planner, filler=filler))
    fly.application.runner.jobs.for_target[JobKind.RESTORE] = changed


@full("a copy from a bucket")
async def test_an_artifact_in_a_bucket_is_copied_by_links_and_a_wrong_key_or_a_spoiled_one_leaves_nothing(
    tmp_path: Path, moto_server: S3Server
) -> None:
    bucket = await asyncio.to_thread(moto_server.new_bucket)
    folder = f'type = "directory"\npath = "{tmp_path}/fly/store"\nvisible_to_workers = true\n'
    table = f'type = "s3"\nbucket = "{bucket}"\nendpoint = "{moto_server.endpoint}"\n'
    table += 'access_key_id_secret = "STORE_KEY_ID"\nsecret_access_key_secret = "STORE_KEY"\n'
    secrets = {"STORE_KEY_ID": ACCESS_KEY, "STORE_KEY": SECRET_KEY, "AGE_IDENTITY": "set below"}
    edits = [(f'match = "{TARGET}"\n', f'match = "{TARGET}"{PROBES}'), (folder, table), IDENTITY]
    async with home(tmp_path, scenario=STAGING, edits=edits, secrets=secrets) as fly:
        identity = (fly.sim.directory / "age-identity.txt").read_text().split("AGE-SECRET-KEY-")[1].split()[0]
        use_identity(fly, f"AGE-SECRET-KEY-{identity}")
        hard_to_keep(fly)
        fly.sim.world.copy_tree(fly.volume.directory, fly.sim.world.snapshot_directory(a_snapshot(fly)))
        ended_well(await fly.export())
        (artifact,) = await fly.artifacts()
        before = len(fly.sim.requests)
        run, result = await copy(fly, export_id=artifact.export_id)
        ended_well(run)
        (made,) = copies(fly)
        assert tree_of(made.directory) == tree_of(fly.sim.world.snapshot_directory(a_snapshot(fly)))
        assert result["report"]["compared_with"] == artifact.export_id
        sent = json.dumps([one.body for one in fly.sim.requests[before:]])
        assert SECRET_KEY not in sent
        assert "X-Amz-Signature" not in sent.replace(handed_in(fly, before), "")

        use_identity(fly, str(pyrage.x25519.Identity.generate()))
        await assert_leaves_nothing(fly, artifact.export_id, made, "for another key")
        use_identity(fly, f"AGE-SECRET-KEY-{identity}")
        client = moto_server.client()
        keys = [row["Key"] for row in client.list_objects_v2(Bucket=bucket)["Contents"]]
        key = next(one for one in keys if one.endswith(artifact.manifest.data[0].key))
        content = bytearray(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        content[len(content) // 2] ^= 0xFF
        client.put_object(Bucket=bucket, Key=key, Body=bytes(content))
        await assert_leaves_nothing(fly, artifact.export_id, made, "")


def hard_to_keep(fly: Home) -> None:
    """Modes, dates and links that a careless restore loses."""
    root = fly.volume.directory
    (root / "odd name\n").write_text("x")
    (root / "odd name\n").chmod(0o4750)
    os.link(root / "crocbot.json", root / "again.json")
    (root / "pointer").symlink_to("/etc/passwd")
    (root / "shut").mkdir(mode=0o500)
    os.utime(root / "crocbot.json", (1_500_000_000, 1_500_000_000))


def handed_in(fly: Home, since: int) -> str:
    """What exec's standard input carried, as the log shows it."""
    bodies = [one.body for one in fly.sim.requests[since:] if one.action == "machine.exec" and one.body]
    return next((body["stdin"] for body in bodies if body.get("stdin")), "nothing")


async def assert_leaves_nothing(fly: Home, export_id: str, made: Volume, words: str) -> None:
    run, _ = await copy(fly, export_id=export_id)
    assert (run.state, exit_code(run)) == (RunState.FAILED, 7)
    assert run.outcome is not None
    assert run.outcome.failure is not None
    assert words in run.outcome.failure.message
    assert [one.id for one in copies(fly)] == [made.id]

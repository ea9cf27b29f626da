"""Unfinished uploads: a killed worker's are aborted, a living one's and a stranger's stay."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.adapters.stores.bucket_child import BucketChild
from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.adapters.system import SystemClock
from flykeep.domain.errors import StoreToolMissingError, StoreUnavailableError, WorkerError
from flykeep.domain.fly import Machine, Mount
from flykeep.domain.ids import VolumeId
from flykeep.domain.policy import CopyRule, JobKind, Policy, TargetRule
from flykeep.domain.run import Outcome, Run, RunState
from flykeep.domain.target import ORG_LINEAGE
from flykeep.jobs.context import Journal, OrgWork
from flykeep.jobs.export import BoundStore
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.jobs.upload_sweep import UploadSweep
from flykeep.ports.bucket import Buckets
from flykeep.ports.fly import SshAccess
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.testing.buckets import MemoryBuckets
from tests.integration.jobs.parts import OWNER, Parts
from tests.integration.worker.proxy import running_proxy
from tests.object_stores import S3Server
from tests.sshd import Sshd, running_sshd

PREFIX = "my-crocbot/crocbot_data/2026/half"
DATA = f"{PREFIX}/data.tar.zst.age"
LOOK_ALIKE = "my-crocbot/crocbot_data/2026/halfway/data.tar.zst.age"
MIB = 1 << 20


@dataclass
class Bench:
    """One bucket called offsite, and a reconcile that looks into it."""

    parts: Parts
    buckets: MemoryBuckets = field(default_factory=MemoryBuckets)

    @property
    def sweep(self) -> UploadSweep:
        return sweep_of(
            self.parts, self.buckets, StoreOrder(name="offsite", type=StoreType.S3, bucket="b", prefix="fly")
        )

    @property
    def reconcile(self) -> ReconcileJob:
        return replace(self.parts.reconcile, uploads=self.sweep)

    async def run_that_began(self, key: str = DATA, *, is_over: bool) -> Run:
        run = await self.parts.claimed()
        journal = Journal(run, self.parts.catalog, self.parts.clock)
        await journal.step("export", export_id="half", store="offsite", prefix=key.rpartition("/")[0])
        self.buckets.begin("b", f"fly/{key}")
        if is_over:
            await ended(self.parts, run, RunState.FAILED)
        return run

    def unfinished(self) -> list[str]:
        return [upload.key.removeprefix("fly/") for upload in self.buckets.begun.get("b", ())]

    async def hourly(self) -> tuple[dict[str, Any], list[str]]:
        """What the scheduled job's run keeps, and the steps it journals."""
        run = await self.parts.pending(kind=JobKind.RECONCILE, lineage_id=ORG_LINEAGE)
        outcome = await self.reconcile.run(OrgWork(run, Journal(run, self.parts.catalog, self.parts.clock)))
        return json.loads(outcome.result_json), [step.detail for step in await self.parts.steps(run)]


def sweep_of(parts: Parts, buckets: Buckets, order: StoreOrder) -> UploadSweep:
    return UploadSweep(buckets, {order.name: order}, parts.catalog, parts.clock)


async def ended(parts: Parts, run: Run, state: RunState) -> None:
    async with parts.catalog.transaction() as tx:
        await tx.finish(run.id, outcome=Outcome(state), now=parts.clock.now())


@pytest.fixture
def bench(parts: Parts) -> Bench:
    return Bench(parts)


async def test_an_upload_of_a_run_that_is_over_is_aborted_and_a_look_alike_stays(bench: Bench) -> None:
    run = await bench.run_that_began(is_over=True)
    bench.buckets.begin("b", f"fly/{LOOK_ALIKE}")

    shown = await bench.reconcile.reconcile(is_applied=False)
    assert bench.unfinished() == [DATA, LOOK_ALIKE]
    applied = await bench.reconcile.reconcile(is_applied=True)

    assert [(one.key, one.action, one.run_id) for one in applied.uploads] == [
        (DATA, "abort", run.id),
        (LOOK_ALIKE, "kept: no run of flykeep began it", None),
    ]
    assert (shown.uploads, shown.unswept) == (applied.uploads, applied.unswept) == (applied.uploads, ())
    assert bench.unfinished() == [LOOK_ALIKE]


async def test_an_upload_is_told_by_its_own_run_among_others(bench: Bench) -> None:
    await ended(bench.parts, await bench.parts.claimed(), RunState.FAILED)
    first = await bench.run_that_began(is_over=True)
    later = await bench.run_that_began("my-crocbot/crocbot_data/2026/later/data.tar.zst.age", is_over=True)

    report = await bench.reconcile.reconcile(is_applied=True)

    assert [one.run_id for one in report.uploads] == [first.id, later.id]


async def test_the_upload_of_a_living_process_is_left_alone_and_that_of_a_dead_one_is_not(bench: Bench) -> None:
    await bench.run_that_began(is_over=False)
    async with bench.parts.owners.hold(OWNER, is_daemon=False):
        assert (await bench.reconcile.reconcile(is_applied=True)).uploads == ()
    assert bench.unfinished() == [DATA]

    assert [one.action for one in (await bench.reconcile.reconcile(is_applied=True)).uploads] == ["abort"]
    assert bench.unfinished() == []


async def test_an_upload_of_the_same_key_in_another_store_is_a_stranger_s(bench: Bench) -> None:
    run = await bench.parts.claimed()
    journal = Journal(run, bench.parts.catalog, bench.parts.clock)
    await journal.step("export", export_id="half", store="shelf", prefix=PREFIX)
    await ended(bench.parts, run, RunState.FAILED)
    bench.buckets.begin("b", f"fly/{DATA}")

    await bench.reconcile.reconcile(is_applied=True)

    assert bench.unfinished() == [DATA]


@pytest.mark.parametrize("error", [StoreToolMissingError("boto3 is not installed"), StoreUnavailableError("not now")])
async def test_a_bucket_that_cannot_be_asked_is_named_with_what_helps(bench: Bench, error: Any) -> None:
    await bench.run_that_began(is_over=True)
    bench.buckets.failures.append(error)

    report = await bench.reconcile.reconcile(is_applied=True)

    assert [(one.store, one.reason, one.hint) for one in report.unswept] == [
        ("offsite", error.message, error.next_step)
    ]
    assert (report.uploads, bench.unfinished()) == ((), [DATA])


async def test_the_hourly_job_asks_only_when_something_may_be_left_or_a_day_has_passed(bench: Bench) -> None:
    await bench.hourly()
    assert bench.buckets.asked == 1  # the first time nobody knows
    await bench.hourly()
    assert bench.buckets.asked == 1

    await bench.parts.clock.sleep(timedelta(hours=1))
    await bench.run_that_began(is_over=True)
    await bench.parts.clock.sleep(timedelta(minutes=1))
    kept, steps = await bench.hourly()
    assert [one["action"] for one in kept["uploads"]] == ["abort"]
    assert f"abort: offsite {DATA}" in steps[0]

    asked = bench.buckets.asked
    await bench.parts.clock.sleep(timedelta(hours=23))
    await bench.hourly()
    assert bench.buckets.asked == asked
    await bench.parts.clock.sleep(timedelta(hours=1))
    await bench.hourly()
    assert bench.buckets.asked == asked + 1


async def test_the_hourly_job_tries_again_where_a_store_did_not_answer_and_not_where_it_will_not(bench: Bench) -> None:
    bench.buckets.failures.append(StoreUnavailableError("not now"))
    await bench.hourly()
    await bench.hourly()
    assert bench.buckets.asked == 2

    await bench.parts.clock.sleep(timedelta(hours=24))
    bench.buckets.failures.append(StoreToolMissingError("boto3 is not installed"))
    kept, _ = await bench.hourly()
    assert [one["reason"] for one in kept["unswept"]] == ["boto3 is not installed"]
    await bench.hourly()
    assert bench.buckets.asked == 3


# A real worker, a real server.


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@dataclass
class Issuer:
    made: SshAccess

    async def access(self, wanted: Machine) -> SshAccess:
        return self.made


@pytest.fixture
async def killed(parts: Parts, sshd: Sshd, moto_order: StoreOrder, tmp_path: Path) -> tuple[Parts, Run]:
    """A run whose worker was killed with parts of its data in the bucket."""
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "file").write_bytes(os.urandom(24 * MIB))
    order = replace(moto_order, name="offsite")
    parts.rule = TargetRule("my-crocbot/*", Policy("standard", copies=(CopyRule("offsite"),)))
    parts.recipients = ()
    mounted = (Mount(VolumeId("vol_1"), str(tmp_path / "noise")),)
    parts.fly.the_machine = replace(parts.fly.the_machine, mounts=mounted)
    async with running_proxy(sshd.port, hold_after=20 * MIB) as proxy:
        bound = {"offsite": BoundStore(ObjectStore(order), order)}
        access = Issuer(replace(sshd.access(), port=proxy.port))
        workers = LocalWorkers(clock=SystemClock(), grace=timedelta(seconds=30))
        job = replace(parts.export, workers=workers, stores=bound, access=access)
        run = await parts.claimed()
        export = asyncio.create_task(job.run(parts.work(run)))
        await asyncio.wait({export, held := asyncio.create_task(proxy.held.wait())}, return_when="FIRST_COMPLETED")
        assert held.done(), export.exception()
        (worker,) = [each for each in psutil.Process().children() if "flykeep.worker" in each.cmdline()]
        worker.kill()
        with pytest.raises(WorkerError):
            await export
    await ended(parts, run, RunState.FAILED)
    return parts, run


async def test_a_worker_killed_in_mid_upload_leaves_nothing_after_reconcile(
    killed: tuple[Parts, Run], moto_server: S3Server, moto_order: StoreOrder
) -> None:
    parts, run = killed
    client, bucket = moto_server.client(), moto_order.bucket
    client.create_multipart_upload(Bucket=bucket, Key=f"fly/{LOOK_ALIKE}")
    left = {upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"]}
    assert len(left) == 2

    sweep = sweep_of(parts, BucketChild(), replace(moto_order, name="offsite"))
    report = await replace(parts.reconcile, uploads=sweep).reconcile(is_applied=True)

    assert {(one.action, one.run_id) for one in report.uploads} == {
        ("abort", run.id),
        ("kept: no run of flykeep began it", None),
    }
    still = [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"]]
    assert still == [f"fly/{LOOK_ALIKE}"]
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

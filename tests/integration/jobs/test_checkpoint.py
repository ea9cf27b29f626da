"""A checkpoint says go only where everything it promises was taken and read back, and names what was taken."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from flykeep.domain.artifact import ChangedFile
from flykeep.domain.errors import (
    FlyUnavailableError,
    IntegrityError,
    RefusalError,
    StoreUnavailableError,
    WorkerError,
)
from flykeep.domain.fly import SnapshotRequest, VolumeSnapshot
from flykeep.domain.ids import SnapshotId
from flykeep.domain.policy import JobKind, Policy
from flykeep.domain.run import Outcome, Run, RunRequest, RunState
from flykeep.jobs.checkpoint import CheckpointJob
from flykeep.jobs.context import TargetWork
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.testing.clock import JumpingClock
from tests.integration.jobs.parts import MemoryFly, Parts, parts_in


class SnapshottingFly(MemoryFly):
    """One volume whose snapshots are done when they are asked for."""

    def __init__(self, clock: JumpingClock) -> None:
        super().__init__()
        self.clock = clock
        self.rows: list[VolumeSnapshot] = []
        self.error: Exception | None = None

    async def snapshots(self, _app: str, _volume: str) -> tuple[VolumeSnapshot, ...]:
        return tuple(reversed(self.rows))

    async def request_snapshot(self, _app: str, _volume: str) -> SnapshotRequest:
        if self.error is not None:
            raise self.error
        id_ = SnapshotId(f"vs_{len(self.rows) + 1}")
        self.rows.append(VolumeSnapshot(id_, "created", self.clock.now(), 1, 1, 5))
        return SnapshotRequest(id_, "prepare")


@dataclass
class Place:
    parts: Parts
    fly: SnapshottingFly
    runs: list[Run] = field(default_factory=list)

    @property
    def job(self) -> CheckpointJob:
        fly: Any = self.fly
        snapshots = SnapshotJob(fly, self.parts.catalog, self.parts.clock)
        return CheckpointJob(snapshots, self.parts.export, self.parts.verify, self.parts.catalog)

    async def work(self, **request: Any) -> TargetWork:
        run = await self.parts.claimed(kind=JobKind.CHECKPOINT)
        self.runs.append(run)
        return self.parts.work(run, request=RunRequest(**request))

    async def check(self, **request: Any) -> tuple[Outcome, dict[str, Any]]:
        work = await self.work(**request)
        try:
            outcome = await self.job.run(work)
        finally:
            async with self.parts.catalog.transaction() as tx:
                await tx.finish(work.run.id, outcome=Outcome(RunState.SUCCEEDED), now=self.parts.clock.now())
        return outcome, json.loads(outcome.result_json)


@asynccontextmanager
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with parts_in(tmp_path) as parts:
        fly = SnapshottingFly(parts.clock)
        fly.the_machine = replace(fly.the_machine, private_ip="fdaa::1")
        parts.fly = fly
        yield Place(parts, fly)


async def test_everything_taken_and_read_back_is_go_and_tells_the_way_back(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        outcome, result = await here.check(reason="deploy 42")
        async with here.parts.catalog.transaction() as tx:
            copies = await tx.artifacts()
            recorded = await tx.recorded_snapshot(SnapshotId("vs_1"))
    assert (outcome.state, outcome.failure, result["is_go"], result["doubts"]) == (RunState.SUCCEEDED, None, True, [])
    assert (result["snapshot_id"], result["export_id"]) == ("vs_1", copies[0].export_id)
    assert result["verified"] == [{"store": "offsite", "level": "bytes"}, {"store": "shelf", "level": "bytes"}]
    assert {copy.verified_level for copy in copies} == {"bytes"}
    assert result["way_back"] == "flykeep restore my-crocbot/crocbot_data --snapshot vs_1"
    assert recorded is not None


async def test_contents_are_verified_where_a_key_opens_them(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.parts.identity = "AGE-SECRET-KEY-1"
        _, result = await here.check()
    assert [one["level"] for one in result["verified"]] == ["contents", "contents"]


async def test_without_a_store_it_is_refused_before_anything_is_taken(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.parts.rule = replace(here.parts.rule, policy=Policy("bare"))
        with pytest.raises(RefusalError, match="names no store") as caught:
            await here.check()
        assert here.fly.rows == []
        assert "--skip-export" in caught.value.next_step
        outcome, result = await here.check(is_export_skipped=True)
    assert (outcome.state, result["is_go"], result["export_id"]) == (RunState.SUCCEEDED, True, None)


async def test_without_a_snapshot_there_is_nothing_to_come_back_to(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.fly.error = FlyUnavailableError("502")
        with pytest.raises(FlyUnavailableError):
            await here.check()
        async with here.parts.catalog.transaction() as tx:
            assert not await tx.artifacts()


@pytest.mark.parametrize(
    ("error", "state", "exit_code"),
    [
        (WorkerError("killed"), RunState.FAILED, 1),
        (StoreUnavailableError("503"), RunState.FAILED, 6),
        (RefusalError("no"), RunState.REFUSED, 4),
    ],
)
async def test_a_failed_export_is_no_go_and_the_snapshot_is_named_all_the_same(
    tmp_path: Path, error: Exception, state: RunState, exit_code: int
) -> None:
    async with place(tmp_path) as here:
        here.parts.workers.errors.append(error)
        outcome, result = await here.check(is_degraded_accepted=True)
    assert (outcome.state, result["is_go"], result["snapshot_id"]) == (state, False, "vs_1")
    assert outcome.failure is not None
    assert outcome.failure.exit_code == exit_code
    assert result["doubts"] == [f"the export failed: {error.args[0]}"]


async def test_an_artifact_that_is_not_what_was_written_is_no_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path) as here:
        workers = here.parts.workers

        async def torn(*_: object, **__: object) -> Any:
            raise IntegrityError("a stored object is not what was written")

        monkeypatch.setattr(workers, "verify", torn)
        outcome, result = await here.check(is_degraded_accepted=True)
        async with here.parts.catalog.transaction() as tx:
            failed = [copy.is_failed for copy in await tx.artifacts()]
    assert (outcome.state, result["is_go"], result["verified"]) == (RunState.FAILED, False, [])
    assert outcome.failure is not None
    assert outcome.failure.exit_code == 7
    assert result["export_id"]
    assert any(failed)


CHANGED = (ChangedFile("a.db", "changed"), ChangedFile("b", "vanished"))


async def test_a_degraded_export_is_no_go_unless_that_was_accepted(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.parts.workers.changes = {"changed": CHANGED[:1]}
        outcome, result = await here.check()
        assert (outcome.state, result["is_go"]) == (RunState.DEGRADED, False)
        assert result["doubts"] == ["degraded: 1 file changed or vanished while it was read (a.db)"]
        here.parts.workers.changes = {"changed": CHANGED}
        outcome, result = await here.check(is_degraded_accepted=True)
    assert (outcome.state, result["is_go"]) == (RunState.DEGRADED, True)
    assert result["doubts"] == ["degraded: 2 files changed or vanished while it was read (a.db, b)"]


async def test_a_copy_with_an_open_database_is_doubted(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.parts.workers.changes = {"open_databases": ("a.db-wal",)}
        outcome, result = await here.check()
    assert (outcome.state, result["is_go"]) == (RunState.DEGRADED, False)
    (doubt,) = result["doubts"]
    assert doubt.startswith("it never counts as a backup: read live while SQLite")


async def test_what_a_dead_checkpoint_was_exporting_is_removed_by_reconcile(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        parts = here.parts
        work = await here.work()
        prefix = "my-crocbot/crocbot_data/2026/01X"
        await work.journal.step("export", export_id="01X", store="offsite", prefix=prefix)
        await parts.stores["offsite"].put(f"{prefix}/data.tar.zst.age", b"half")
        job: ReconcileJob = parts.reconcile
        report = await job.reconcile(is_applied=True)
        assert work.run.id in report.interrupted
        assert await parts.keys_in("offsite") == []

"""Before a deploy or a migration: a snapshot, an export, its verification, and one answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flykeep.domain.artifact import Artifact
from flykeep.domain.checkpoint import (
    CheckpointResult,
    VerifiedCopy,
    doubts_about,
    failure_text,
    refuse_without_store,
    way_back,
)
from flykeep.domain.documents import to_json
from flykeep.domain.errors import FlykeepError, RefusalError
from flykeep.domain.ids import ExportId
from flykeep.domain.run import Outcome, RunRequest, RunState
from flykeep.jobs.context import TargetWork
from flykeep.jobs.runner import TargetJob, failure_of
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.jobs.verify import VerifyJob
from flykeep.ports.catalog import Catalog


@dataclass(frozen=True, slots=True)
class CheckpointJob:
    """The jobs that take backups anyway, in one run. What was taken stays, whatever the answer is."""

    snapshots: SnapshotJob
    exports: TargetJob
    verify: VerifyJob
    catalog: Catalog

    async def run(self, work: TargetWork) -> Outcome:
        """Raises what kept the snapshot from being taken; later failures stand in the outcome beside what there is."""
        request = work.run.request
        if not request.is_export_skipped:
            refuse_without_store(work.rule)
        volume = await self.snapshots.fly.volume(work.lineage.app, work.lineage.volume_id)
        snapshot = (await self.snapshots.take(work, volume)).snapshot
        assert snapshot is not None  # done implies a snapshot; anything else was raised
        await work.journal.step("checkpoint: snapshot taken", snapshot=snapshot.id)
        result = CheckpointResult(
            is_go=True,
            volume_id=volume.id,
            snapshot_id=snapshot.id,
            snapshot_at=snapshot.created_at,
            export_id=None,
            verified=(),
            doubts=(),
            way_back=way_back(work.lineage.label, snapshot.id),
        )
        if request.is_export_skipped:
            return Outcome(RunState.SUCCEEDED, to_json(result))
        return await self._kept_elsewhere(work, result)

    async def _kept_elsewhere(self, work: TargetWork, result: CheckpointResult) -> Outcome:
        try:
            copies = await self._export(work)
        except FlykeepError as error:
            return _failed(result, "export", error)
        result = replace(result, export_id=copies[0].export_id, doubts=doubts_about(copies))
        try:
            result = replace(result, verified=await self._verified(work, copies))
        except FlykeepError as error:
            return _failed(result, "verification", error)
        if not result.doubts:
            return Outcome(RunState.SUCCEEDED, to_json(result))
        is_accepted = work.run.request.is_degraded_accepted
        return Outcome(RunState.DEGRADED, to_json(replace(result, is_go=is_accepted)))

    async def _export(self, work: TargetWork) -> Sequence[Artifact]:
        """Whole, whatever this run was asked for besides."""
        whole = replace(work, run=replace(work.run, request=RunRequest(reason=work.run.request.reason)))
        outcome = await self.exports.run(whole)
        export_id = ExportId(json.loads(outcome.result_json)["export_id"])
        async with self.catalog.transaction() as tx:
            return await tx.artifact(export_id)

    async def _verified(self, work: TargetWork, copies: Sequence[Artifact]) -> tuple[VerifiedCopy, ...]:
        """Every copy as deep as the keys at hand allow."""
        verified: list[VerifiedCopy] = []
        for copy in copies:
            level = self.verify.deepest(copy).value
            await work.journal.step("checkpoint: verify", export_id=copy.export_id, store=copy.store, level=level)
            await self.verify.verify(copy, level=level, on_progress=work.on_progress)
            verified.append(VerifiedCopy(copy.store, level))
        return tuple(verified)


def _failed(result: CheckpointResult, what: str, error: FlykeepError) -> Outcome:
    state = RunState.REFUSED if isinstance(error, RefusalError) else RunState.FAILED
    doubts = (*result.doubts, failure_text(what, error))
    return Outcome(state, to_json(replace(result, is_go=False, doubts=doubts)), failure_of(error))

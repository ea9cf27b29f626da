"""Take one snapshot of one target and see it finished."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from flykeep.domain.documents import to_json
from flykeep.domain.errors import (
    FlyConflictError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
    RefusalError,
    SnapshotFailedError,
    SnapshotTimeoutError,
)
from flykeep.domain.fly import HostStatus, Machine, SnapshotRequest, Volume, VolumeSnapshot
from flykeep.domain.ids import SnapshotId, VolumeId
from flykeep.domain.run import Outcome, RunState
from flykeep.domain.snapshot_match import MatchState, SnapshotMatch, match_requested, taken_since
from flykeep.jobs.context import TargetWork
from flykeep.jobs.hooks import HookRunner
from flykeep.ports.catalog import Catalog, RecordedSnapshot
from flykeep.ports.clock import Clock
from flykeep.ports.fly import CommandRunner, InventoryReader, SnapshotMaker

_POLL_EVERY = timedelta(seconds=5)
_POLL_AT_MOST = timedelta(seconds=30)
_MAX_REQUESTS = 3


class SnapshotFly(InventoryReader, SnapshotMaker, CommandRunner, Protocol):
    """What this job needs of Fly."""


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    snapshot_id: SnapshotId | None
    volume_id: VolumeId
    created_at: datetime | None
    size_bytes: int
    volume_size_bytes: int
    is_coalesced: bool


@dataclass(frozen=True, slots=True)
class SnapshotJob:
    """before-hook, list, request, poll until the requested snapshot is restorable, after-hook, record.

    A snapshot created at or after the slot's instant counts, whoever asked for it: Fly may coalesce requests, and an
    interrupted run must not make a second one.
    """

    fly: SnapshotFly
    catalog: Catalog
    clock: Clock
    deadline: timedelta = timedelta(hours=1)

    async def run(self, work: TargetWork) -> Outcome:
        volume = await self.fly.volume(work.lineage.app, work.lineage.volume_id)
        match = await self.take(work, volume)
        snapshot = match.snapshot
        assert snapshot is not None  # done implies a snapshot; anything else was raised
        result = SnapshotResult(
            snapshot_id=snapshot.id,
            volume_id=volume.id,
            created_at=snapshot.created_at,
            size_bytes=snapshot.size_bytes,
            volume_size_bytes=snapshot.volume_size_bytes,
            is_coalesced=match.is_coalesced,
        )
        return Outcome(RunState.SUCCEEDED, to_json(result))

    async def take(self, work: TargetWork, volume: Volume) -> SnapshotMatch:
        """A finished snapshot of the run's slot, taken between its hooks and recorded."""
        hooks = work.rule.hooks
        _refuse_what_cannot_work(volume)
        has_hooks = hooks.before_snapshot is not None or hooks.after_snapshot is not None
        machine = await self._machine(volume) if has_hooks else None
        async with HookRunner(self.fly).around(
            machine, before=hooks.before_snapshot, after=hooks.after_snapshot, journal=work.journal
        ):
            match = await self._take(work, volume)
        if match.snapshot is not None:
            await self._record(work, volume, match.snapshot)
        return match

    async def _machine(self, volume: Volume) -> Machine | None:
        if volume.attached_machine_id is None:
            return None
        return await self.fly.machine(volume.app, volume.attached_machine_id)

    async def _take(self, work: TargetWork, volume: Volume) -> SnapshotMatch:
        """Request a snapshot and wait for it; the list, not the answer to the request, decides what happened."""
        before = await self.fly.snapshots(volume.app, volume.id)
        slot_at = work.run.slot.scheduled_at or work.run.requested_at
        earlier = taken_since(before, slot_at)
        if earlier is not None:
            await work.journal.step("snapshot exists already", snapshot=earlier.id)
            return SnapshotMatch(MatchState.DONE, earlier, is_coalesced=True)
        started = self.clock.monotonic()
        for _ in range(_MAX_REQUESTS):
            request = await self._request(work, volume, before)
            match = await self._follow(work, volume, before, request, slot_at, started)
            if match is not None:
                return match
            await work.journal.step("what was under way is older than the slot, ask again")
            before = await self.fly.snapshots(volume.app, volume.id)
        raise SnapshotFailedError(
            "Fly did not begin a snapshot: others were under way each time",
            facts={"app": volume.app, "volume": volume.id},
        )

    async def _request(
        self, work: TargetWork, volume: Volume, before: tuple[VolumeSnapshot, ...]
    ) -> SnapshotRequest | None:
        """Ask Fly; None where another snapshot runs already or the outcome is unknown and the list shows a new row.

        A create call is not idempotent: an unknown outcome is settled by looking before it is repeated.
        """
        attempt = 0
        while True:
            attempt += 1
            await work.journal.step("request snapshot", volume=volume.id, attempt=attempt)
            try:
                return await self.fly.request_snapshot(volume.app, volume.id)
            except (FlyConflictError, FlyUnexpectedAnswerError) as error:
                await work.journal.step("look instead of asking again", reason=error.message)
                return None
            except FlyUnavailableError as error:
                await work.journal.step("outcome unknown, look first", reason=error.message)
                if await self._appeared(volume, before):
                    return None
                if attempt == _MAX_REQUESTS:
                    raise

    async def _appeared(self, volume: Volume, before: tuple[VolumeSnapshot, ...]) -> bool:
        for _ in range(3):
            await self.clock.sleep(_POLL_EVERY)
            listed = await self.fly.snapshots(volume.app, volume.id)
            pending = sum(1 for row in listed if row.id is None) > sum(1 for row in before if row.id is None)
            if pending or {row.id for row in listed} - {row.id for row in before}:
                return True
        return False

    async def _follow(
        self,
        work: TargetWork,
        volume: Volume,
        before: tuple[VolumeSnapshot, ...],
        request: SnapshotRequest | None,
        slot_at: datetime,
        started: float,
    ) -> SnapshotMatch | None:
        """The finished snapshot; None where nothing was requested and what was under way has ended, too old.

        Raises SnapshotFailedError for Fly's word of failure, SnapshotTimeoutError at the deadline.
        """
        wait = _POLL_EVERY
        last: SnapshotMatch | None = None
        while self.clock.monotonic() - started < self.deadline.total_seconds():
            await self.clock.sleep(wait)
            wait = min(wait * 1.5, _POLL_AT_MOST)
            listed = await self.fly.snapshots(volume.app, volume.id)
            match = match_requested(
                before,
                listed,
                graph_id=request.graph_id if request else None,
                requested_at=work.run.started_at or work.run.requested_at,
                slot_at=slot_at,
            )
            if last is None or match.state is not last.state:
                await work.journal.step(f"snapshot {match.state}", status=match.status)
            last = match
            if match.state is MatchState.DONE:
                return match
            if match.state is MatchState.FAILED:
                raise SnapshotFailedError(
                    f"Fly reports the snapshot as {match.status!r}", facts={"app": volume.app, "volume": volume.id}
                )
            if request is None and match.snapshot is None and not any(row.is_pending for row in listed):
                return None
        status = f"; its last status was {last.status!r}" if last and last.status else ""
        raise SnapshotTimeoutError(
            f"the snapshot was not finished within {self.deadline}{status}",
            facts={"app": volume.app, "volume": volume.id},
        )

    async def _record(self, work: TargetWork, volume: Volume, snapshot: VolumeSnapshot) -> None:
        async with self.catalog.transaction() as tx:
            await tx.record_snapshot(
                RecordedSnapshot(
                    lineage_id=work.lineage.id,
                    volume_id=volume.id,
                    app=volume.app,
                    snapshot=snapshot,
                    seen_at=self.clock.now(),
                    run_id=work.run.id,
                )
            )


def _refuse_what_cannot_work(volume: Volume) -> None:
    facts = {"app": volume.app, "volume": volume.id}
    if volume.is_leaving:
        raise RefusalError(f"the volume is {volume.state}; it cannot be snapshotted any more", facts=facts)
    if volume.host_status is HostStatus.UNREACHABLE:
        raise RefusalError(
            "the volume's host is unreachable, so Fly cannot snapshot it",
            hint="Existing snapshots stay restorable: see `flykeep snapshots`. Watch https://status.flyio.net.",
            facts=facts,
        )

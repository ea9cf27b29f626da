"""Remove files that a target's rules name, where a snapshot of the last hour holds them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from flykeep.domain.cleaning import require_snapshot, rules_to_apply
from flykeep.domain.documents import to_json
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.ids import SnapshotId, VolumeId
from flykeep.domain.import_plan import running_machine
from flykeep.domain.plans import mount_directory
from flykeep.domain.policy import CleanRule
from flykeep.domain.run import Outcome, RunState
from flykeep.jobs.context import TargetWork
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.ports.cleaning import Cleaners, CleanOrder, CleanResult, CleanWish, Found, Kept
from flykeep.ports.clock import Clock
from flykeep.ports.fly import AccessIssuer, InventoryReader, SnapshotReader


class CleanFly(InventoryReader, SnapshotReader, Protocol):
    """What this job needs of Fly."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule names."""

    glob: str
    older_than_s: int
    files: int
    content_bytes: int
    oldest_at: datetime | None
    newest_at: datetime | None
    sample: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CleanOutcome:
    """`snapshot_id` is what holds the removed files; None for a dry run."""

    act: str
    applied: bool
    volume_id: VolumeId
    machine_id: str
    directory: str
    rules: tuple[RuleResult, ...]
    snapshot_id: SnapshotId | None
    removed: int
    freed_bytes: int
    kept_count: int
    kept: tuple[Kept, ...]
    troubles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VolumeCleaner:
    """Ages are judged by this process's clock, at the instant the work begins."""

    fly: CleanFly
    snapshots: SnapshotJob
    access: AccessIssuer
    cleaners: Cleaners
    clock: Clock
    deadline: timedelta

    async def run(self, work: TargetWork) -> Outcome:
        request = work.run.request
        rules = rules_to_apply(work.rule, request.paths)
        volume = await self.fly.volume(work.lineage.app, work.lineage.volume_id)
        attached = volume.attached_machine_id
        machine = running_machine(volume, await self.fly.machine(volume.app, attached) if attached else None)
        directory = mount_directory(work.rule, volume=volume, machine=machine)
        snapshot_id = await self._snapshot(work, volume) if request.is_applied else None
        order = await self._order(rules, machine, directory, is_applied=request.is_applied)
        await work.journal.step(
            "remove files" if request.is_applied else "look for files",
            machine=machine.id,
            directory=directory,
            snapshot=snapshot_id,
        )
        result = await self.cleaners.clean(order)
        told = CleanOutcome(
            act="clean",
            applied=request.is_applied,
            volume_id=volume.id,
            machine_id=machine.id,
            directory=directory,
            rules=tuple(_rule(rule, found) for rule, found in zip(rules, result.found, strict=True)),
            snapshot_id=snapshot_id,
            removed=result.removed,
            freed_bytes=result.freed_bytes,
            kept_count=result.kept_count,
            kept=result.kept,
            troubles=result.troubles,
        )
        return Outcome(RunState.DEGRADED if _is_short(result) else RunState.SUCCEEDED, to_json(told))

    async def _snapshot(self, work: TargetWork, volume: Volume) -> SnapshotId | None:
        """One that holds what will go; taken first where that was asked for."""
        if work.run.request.is_snapshot_first:
            await self.snapshots.take(work, volume)
        listed = await self.fly.snapshots(volume.app, volume.id)
        return require_snapshot(listed, now=self.clock.now(), label=work.lineage.label).id

    async def _order(
        self, rules: tuple[CleanRule, ...], machine: Machine, directory: str, *, is_applied: bool
    ) -> CleanOrder:
        now = self.clock.now()
        return CleanOrder(
            access=await self.access.access(machine),
            directory=directory,
            wishes=tuple(CleanWish(rule.glob, int((now - rule.older_than).timestamp())) for rule in rules),
            is_applied=is_applied,
            deadline_s=self.deadline.total_seconds(),
        )


def _rule(rule: CleanRule, found: Found) -> RuleResult:
    return RuleResult(
        glob=rule.glob,
        older_than_s=int(rule.older_than.total_seconds()),
        files=found.files,
        content_bytes=found.content_bytes,
        oldest_at=_instant(found.oldest_s),
        newest_at=_instant(found.newest_s),
        sample=found.sample,
    )


def _instant(epoch_s: int | None) -> datetime | None:
    """None for a time that no calendar holds: files may claim any."""
    try:
        return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _is_short(result: CleanResult) -> bool:
    """Whether something the rules name may still be there."""
    return bool(result.kept_count or result.troubles)

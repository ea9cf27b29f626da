"""Say for how long Fly keeps a volume's snapshots, and whether it takes its own each day."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.domain.documents import to_json
from flykeep.domain.errors import FlyUnexpectedAnswerError
from flykeep.domain.ids import VolumeId
from flykeep.domain.run import Outcome, RunState
from flykeep.domain.volume_care import plan_keeping
from flykeep.jobs.context import TargetWork
from flykeep.ports.fly import InventoryReader
from flykeep.ports.volumes import SnapshotKeeping, VolumeKeeper


@dataclass(frozen=True, slots=True)
class RetentionResult:
    """What Fly says afterwards, and what the policy wants otherwise."""

    act: str
    volume_id: VolumeId
    from_days: int | None
    to_days: int | None
    automatic_before: bool | None
    automatic_after: bool | None
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VolumeRetention:
    """Snapshots that exist keep the days they were made with."""

    fly: InventoryReader
    keeper: VolumeKeeper

    async def run(self, work: TargetWork) -> Outcome:
        request = work.run.request
        volume = await self.fly.volume(work.lineage.app, work.lineage.volume_id)
        days, is_automatic_on = request.retention_days, request.is_automatic_on
        plan = plan_keeping(volume, work.rule.policy, days=days, is_automatic_on=is_automatic_on)
        automatic = None if is_automatic_on is None else "on" if is_automatic_on else "off"
        await work.journal.step("change snapshots' keeping", volume=volume.id, days=days, automatic=automatic)
        after = await self.keeper.keep_snapshots(volume.app, volume.id, SnapshotKeeping(days, is_automatic_on))
        found = (after.snapshot_retention_days, after.is_automatic_snapshot_on)
        if found != (plan.to_days, plan.is_automatic_after):
            raise FlyUnexpectedAnswerError(
                f"Fly says {found[0]} days and automatic {found[1]} after it was asked for otherwise",
                facts={"app": volume.app, "volume": volume.id},
            )
        result = RetentionResult(
            act="retention",
            volume_id=volume.id,
            from_days=plan.from_days,
            to_days=plan.to_days,
            automatic_before=plan.is_automatic_before,
            automatic_after=plan.is_automatic_after,
            doubts=plan.doubts,
        )
        return Outcome(RunState.SUCCEEDED, to_json(result))

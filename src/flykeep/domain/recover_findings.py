"""What is amiss with an app whose rebuilding began and never ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from flykeep.domain.compliance_org import OrgCompliance
from flykeep.domain.findings import Finding, FindingCode, Severity
from flykeep.domain.fly import Inventory
from flykeep.domain.ids import AppName, MachineId, RunId, VolumeId
from flykeep.domain.subjects import app_subject


@dataclass(frozen=True, slots=True)
class HalfRecovery:
    """A recovery that asked Fly for something, and that nobody works on; `run_id` and `stopped_at` of its newest run.

    `made` are the volumes and machines it is known to have made.
    """

    app: AppName
    name: AppName
    org: str
    run_id: RunId
    stopped_at: datetime
    made: frozenset[VolumeId | MachineId]

    def is_removed(self, inventory: Inventory, *, org: str) -> bool:
        """Whether somebody has removed all that it made; False where that can't be seen."""
        if not self.made or self.org != org or not inventory.is_complete:
            return False
        there = {one.id for one in inventory.volumes} | {one.id for one in inventory.machines}
        return not self.made & there


def with_half_recoveries(
    org: OrgCompliance, found: Iterable[HalfRecovery], inventory: Inventory | None, *, of: str
) -> OrgCompliance:
    """The same with the apps that stayed half-built; `of` is the organization whose inventory it is."""
    left = [one for one in found if inventory is None or not one.is_removed(inventory, org=of)]
    return replace(org, findings=(*org.findings, *(_finding(one, of) for one in left))) if left else org


def _finding(one: HalfRecovery, org: str) -> Finding:
    name = f" --as {one.name}" if one.name != one.app else ""
    elsewhere = f" --org {one.org}" if one.org != org else ""
    return Finding(
        code=FindingCode.RECOVER_HALF_DONE,
        severity=Severity.CRITICAL,
        subject=app_subject(one.name),
        summary=f"The rebuilding of {one.app} as {one.name} stopped half-way in run {one.run_id}: "
        "volumes, machines or addresses may be lacking.",
        since_at=one.stopped_at,
        last_good_at=None,
        next_step=f"flykeep recover {one.app}{name}{elsewhere} --secrets FILE",
    )

"""Continue a lineage by hand: one transaction in the catalog, and nothing anywhere else."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.domain.adoption import AdoptionPlan, AdoptionWish, plan_adoption
from flykeep.domain.errors import BusyError, RefusalError
from flykeep.domain.holds import AuditAction, AuditCount, AuditEntry
from flykeep.domain.ids import LineageId
from flykeep.domain.policy import TargetRule
from flykeep.domain.run import RunState
from flykeep.domain.target import Lineage
from flykeep.ports.catalog import Catalog, MergeCounts, Transaction
from flykeep.ports.clock import Clock
from flykeep.ports.fly import InventoryReader

_NOTHING = MergeCounts(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class AdoptJob:
    """Reads Fly, decides, and writes the catalog; what a check began meanwhile is kept, as part of the old chain."""

    fly: InventoryReader
    catalog: Catalog
    clock: Clock
    rules: tuple[TargetRule, ...]

    async def plan(self, text: str, wish: AdoptionWish) -> AdoptionPlan:
        """What an adoption would do now; raises as `domain.adoption.plan_adoption`, and FlyError."""
        inventory = await self.fly.inventory()
        async with self.catalog.transaction() as tx:
            known = tuple(await tx.lineages(include_retired=True))
        return plan_adoption(text, wish, known, inventory, self.rules)

    async def adopt(self, plan: AdoptionPlan, *, actor: str, reason: str) -> MergeCounts:
        """Raises BusyError while a run of either is at work, RefusalError where things are others than was planned."""
        merged = plan.merged
        async with self.catalog.transaction() as tx:
            for lineage in filter(None, (plan.before, merged)):
                await _refuse_changed(tx, lineage)
                await _refuse_busy(tx, lineage)
            counts = await tx.merge_lineage(merged.id, into=plan.before.id) if merged else _NOTHING
            await tx.save_lineage(plan.after)
            await tx.add_audit(self._entry(plan, counts, actor=actor, reason=reason))
        return counts

    def _entry(self, plan: AdoptionPlan, counts: MergeCounts, *, actor: str, reason: str) -> AuditEntry:
        taken = f", with lineage {plan.merged.id}" if plan.merged else ""
        volumes = f"volume {plan.volume.id} after {plan.before.volume_id}"
        subject = f"{plan.after.label} (lineage {plan.after.id}, {volumes}{taken})"
        said = (
            AuditCount("runs", counts.runs),
            AuditCount("snapshots", counts.snapshots),
            AuditCount("artifacts", counts.artifacts),
            AuditCount("proofs", counts.proofs),
        )
        return AuditEntry(self.clock.now(), actor, AuditAction.ADOPTED, subject, reason, said)


async def _refuse_changed(tx: Transaction, planned: Lineage) -> None:
    known: dict[LineageId, Lineage] = {one.id: one for one in await tx.lineages()}
    now = known.get(planned.id)
    if now is None or not set(now.volume_ids) <= set(planned.volume_ids):
        raise RefusalError(
            f"{planned.label} has changed since this was planned", hint="Give the command again and read the new plan."
        )


async def _refuse_busy(tx: Transaction, lineage: Lineage) -> None:
    for run in await tx.runs(lineage_id=lineage.id, is_open=True, limit=1000):
        if run.state is RunState.RUNNING:
            raise BusyError(f"run {run.id} of {lineage.label} is at work", facts={"run": run.id})

"""Retention: finish what was begun, plan anew, remove what no rule keeps, and say what was left undone."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.domain.documents import to_json
from flykeep.domain.errors import RefusalError, StoreError
from flykeep.domain.holds import AuditAction, AuditCount, AuditEntry
from flykeep.domain.prune import CopyResult, PlannedCopy, PruneResult
from flykeep.domain.retention import Fate
from flykeep.domain.run import Outcome, RunState
from flykeep.jobs.context import OrgWork
from flykeep.jobs.removal import Removal, Remover
from flykeep.jobs.retention import RetentionPlanner
from flykeep.jobs.runner import failure_of
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock

BY_SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True)
class PruneJob:
    """Never removes what the catalog did not record, and never on the word of the catalog alone."""

    catalog: Catalog
    clock: Clock
    planner: RetentionPlanner
    remover: Remover

    async def run(self, work: OrgWork) -> Outcome:
        """One failing store does not fail the others; its error is raised when all are done."""
        request = work.run.request
        failures: list[StoreError] = []
        finished = await self._finish(work, failures)
        planned = await self.planner.plan(request.lineage_id, max_delete_share=request.max_delete_share)
        results = [await self._apply(work, copy, failures) for copy in planned if copy.is_ruled]
        result = PruneResult(tuple(results), finished)
        await self._audit(work, result)
        if failures:
            raise failures[0]
        return _outcome(result)

    async def _finish(self, work: OrgWork, failures: list[StoreError]) -> tuple[str, ...]:
        finished: list[str] = []
        for artifact in await self.remover.leaving():
            try:
                removal = await self.remover.finish(artifact, work.journal)
            except StoreError as error:
                failures.append(error)
            else:
                finished += [artifact.export_id] if removal.held is None else []
        return tuple(finished)

    async def _apply(self, work: OrgWork, copy: PlannedCopy, failures: list[StoreError]) -> CopyResult:
        await work.journal.step(
            "plan", target=copy.label, store=copy.store, remove=len(copy.plan.removals), refused=copy.plan.refusal
        )
        done: list[Removal] = []
        for artifact in copy.plan.removals:
            try:
                done.append(await self.remover.remove(artifact, work.journal))
            except StoreError as error:
                failures.append(error)
                break  # the store does not answer: the rest of this copy waits for the next run
        return _result(copy, done)

    async def _audit(self, work: OrgWork, result: PruneResult) -> None:
        removed = sum(len(copy.removed) for copy in result.copies)
        if not removed:
            return
        counts = (
            AuditCount("artifacts", removed),
            AuditCount("bytes", sum(copy.freed_bytes for copy in result.copies)),
        )
        subject = ", ".join(f"{copy.target} in {copy.store}" for copy in result.copies if copy.removed)
        actor = work.run.request.actor or BY_SCHEDULE
        entry = AuditEntry(self.clock.now(), actor, AuditAction.PRUNED, subject, f"run {work.run.id}", counts)
        async with self.catalog.transaction() as tx:
            await tx.add_audit(entry)


def _result(copy: PlannedCopy, done: list[Removal]) -> CopyResult:
    removed = [removal.artifact for removal in done if removal.held is None]
    locked = [removal.artifact.export_id for removal in done if removal.is_locked]
    held = [f"{one.artifact.export_id}: {one.held}" for one in done if one.held is not None and not one.is_locked]
    return CopyResult(
        lineage_id=copy.lineage.id,
        target=copy.label,
        store=copy.store,
        removed=tuple(artifact.export_id for artifact in removed),
        kept=len(copy.plan.of(Fate.KEEP)),
        locked=tuple(locked),
        held=tuple(held),
        freed_bytes=sum(artifact.stored_bytes for artifact in removed),
        problems=copy.problems,
    )


def _outcome(result: PruneResult) -> Outcome:
    """Refused where a guard held everything back; degraded where it held some, or something came in between."""
    problems = [f"{copy.target} in {copy.store}: {problem}" for copy in result.copies for problem in copy.problems]
    undone = [f"{copy.target} in {copy.store}: {one}" for copy in result.copies for one in copy.undone]
    if not problems and not undone:
        return Outcome(RunState.SUCCEEDED, to_json(result))
    is_anything_removed = bool(result.finished) or any(copy.removed for copy in result.copies)
    refusal = RefusalError(
        "; ".join([*problems, *undone][:5]),
        hint="Look at it with `flykeep prune`; --allow-share raises the largest share.",
    )
    state = RunState.DEGRADED if is_anything_removed or undone else RunState.REFUSED
    return Outcome(state, to_json(result), failure_of(refusal))

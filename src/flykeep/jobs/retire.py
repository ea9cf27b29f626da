"""End a target: nothing is planned or found for it any more; with erasure nothing of it is left where locks allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from flykeep.domain import layout
from flykeep.domain.artifact import Artifact
from flykeep.domain.documents import to_json
from flykeep.domain.errors import BusyError, RefusalError, StoreError, TargetNotFoundError
from flykeep.domain.holds import AuditAction, AuditCount, AuditEntry
from flykeep.domain.lineages import rule_of
from flykeep.domain.policy import TargetRule
from flykeep.domain.retirement import Left, RetireResult, check_erasure
from flykeep.domain.run import Failure, Outcome, RunRequest, RunState
from flykeep.domain.target import Lineage
from flykeep.jobs.agreement import MISSING, Agreement
from flykeep.jobs.context import OrgWork
from flykeep.jobs.removal import Remover
from flykeep.jobs.runner import failure_of
from flykeep.ports.catalog import Catalog, Transaction
from flykeep.ports.clock import Clock
from flykeep.ports.store import Store

UNKNOWN_ACTOR = "unknown"


@dataclass(frozen=True, slots=True)
class RetireJob:
    """The one job that may remove the last restorable artifact, and only where a person asked for that by name."""

    catalog: Catalog
    clock: Clock
    stores: Mapping[str, Store]
    rules: tuple[TargetRule, ...]
    agreement: Agreement
    remover: Remover

    async def run(self, work: OrgWork) -> Outcome:
        request = work.run.request
        lineage = await self._lineage(work)
        await self._end(work, lineage)
        result = RetireResult(lineage.id, lineage.label, is_erased=False)
        if request.is_erasing:
            result = await self._erase(work, lineage)
            await self._write_down(request, lineage, result)
        if not result.left:
            return Outcome(RunState.SUCCEEDED, to_json(result))
        return Outcome(RunState.DEGRADED, to_json(result), _failure(result))

    async def _lineage(self, work: OrgWork) -> Lineage:
        async with self.catalog.transaction() as tx:
            for lineage in await tx.lineages(include_retired=True):
                if lineage.id == work.run.request.lineage_id:
                    return lineage
        raise TargetNotFoundError("the target is not in the catalog", facts={"run": work.run.id})

    async def _end(self, work: OrgWork, lineage: Lineage) -> None:
        """No run of it may be at work, and none that waits will begin."""
        request, now = work.run.request, self.clock.now()
        async with self.catalog.transaction() as tx:
            if request.is_erasing:
                await self._check_erasure(tx, request, lineage)
            waiting = await tx.runs(lineage_id=lineage.id, is_open=True, limit=1000)
            for run in waiting:
                if run.state is RunState.RUNNING:
                    raise BusyError(f"run {run.id} of the target is at work", facts={"run": run.id})
            for run in waiting:
                await tx.finish(run.id, outcome=Outcome(RunState.CANCELLED, failure=_RETIRED), now=now)
            await tx.resume(lineage.id)
            if not lineage.is_retired:
                await tx.save_lineage(replace(lineage, is_retired=True))
                await tx.add_audit(_entry(request, lineage, AuditAction.RETIRED, self.clock))
            await work.journal.add(tx, "retired", target=lineage.label, cancelled=len(waiting))

    async def _check_erasure(self, tx: Transaction, request: RunRequest, lineage: Lineage) -> None:
        check_erasure(
            lineage,
            await tx.artifacts(lineage.id),
            await tx.pins(),
            reason=request.reason,
            is_configured=rule_of(lineage, self.rules) is not None,
            fly_seen_at=await tx.fly_seen_at(),
        )

    async def _erase(self, work: OrgWork, lineage: Lineage) -> RetireResult:
        async with self.catalog.transaction() as tx:
            artifacts = await tx.artifacts(lineage.id)
        erased: list[Artifact] = []
        left: list[Left] = []
        for artifact in artifacts:
            why = await self._erase_one(work, artifact)
            if why is None:
                erased.append(artifact)
            else:
                left.append(Left(artifact.export_id, artifact.store, why))
        proofs = await self._erase_proofs(lineage, left)
        if not left:
            async with self.catalog.transaction() as tx:
                await tx.forget_lineage(lineage.id)
        freed = sum(artifact.stored_bytes for artifact in erased)
        return RetireResult(lineage.id, lineage.label, not left, len(erased), freed, proofs, tuple(left))

    async def _erase_one(self, work: OrgWork, artifact: Artifact) -> str | None:
        """None where it is gone, else why it is not."""
        store = self.stores.get(artifact.store)
        if store is None:
            return "its store is not configured any more"
        try:
            if artifact.leaving_at is not None:
                return (await self.remover.finish(artifact, work.journal)).held
            mismatch = await self.agreement.mismatch(store, artifact)
            if mismatch not in {None, MISSING}:
                return mismatch
            return (await self.remover.remove(artifact, work.journal)).held
        except StoreError as error:
            return error.message

    async def _erase_proofs(self, lineage: Lineage, left: list[Left]) -> int:
        async with self.catalog.transaction() as tx:
            proofs = await tx.proofs(lineage.id, limit=100_000)
        for proof in proofs:
            key = layout.proof_key(lineage.app, lineage.volume_name, proof.proof.proof_id)
            for store in self.stores.values():
                try:
                    await store.delete(key)
                except StoreError as error:
                    left.append(Left(proof.proof.proof_id, store.name, error.message))
        return len(proofs)

    async def _write_down(self, request: RunRequest, lineage: Lineage, result: RetireResult) -> None:
        counts = (
            AuditCount("artifacts", result.erased),
            AuditCount("bytes", result.erased_bytes),
            AuditCount("proofs", result.proofs),
            AuditCount("left", len(result.left)),
        )
        async with self.catalog.transaction() as tx:
            await tx.add_audit(_entry(request, lineage, AuditAction.ERASED, self.clock, counts))


_RETIRED = Failure("run.cancelled", "its target was retired", "Nothing: nothing is done for it any more.", exit_code=8)


def _entry(
    request: RunRequest, lineage: Lineage, action: AuditAction, clock: Clock, counts: tuple[AuditCount, ...] = ()
) -> AuditEntry:
    subject = f"{lineage.label} (lineage {lineage.id}, volume {lineage.volume_id})"
    return AuditEntry(clock.now(), request.actor or UNKNOWN_ACTOR, action, subject, request.reason or "", counts)


def _failure(result: RetireResult) -> Failure:
    names = "; ".join(f"{left.export_id} in {left.store}: {left.why}" for left in result.left[:5])
    return failure_of(
        RefusalError(
            f"{len(result.left)} things of {result.target} could not be erased: {names}",
            hint="Give the same command again when the locks are over or the stores answer.",
        )
    )

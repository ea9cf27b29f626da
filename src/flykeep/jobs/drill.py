"""Rehearse a restore: choose, restore into something temporary, look, remove it, and sign what was seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from flykeep.domain.documents import to_json
from flykeep.domain.drill import DrillMeans, plan_drill, why_failed
from flykeep.domain.errors import DrillFailedError, IntegrityError, StoreNotFoundError
from flykeep.domain.ids import ProofId
from flykeep.domain.proof import Against, Contents, Proof, ProofOutcome
from flykeep.domain.run import Outcome, RunState
from flykeep.domain.wording import printable
from flykeep.jobs.context import TargetWork
from flykeep.jobs.drill_choice import DrillChooser, Rehearsal
from flykeep.jobs.drill_place import DrillPlace
from flykeep.jobs.proofs import Kept, ProofBook
from flykeep.jobs.runner import failure_of
from flykeep.ports.clock import Clock
from flykeep.ports.worker import DrillResult


@dataclass(frozen=True, slots=True)
class DrillJobResult:
    """What the run keeps. `not_stored` are the stores that did not take the proof."""

    proof: Proof
    signer: str
    stores: tuple[str, ...]
    not_stored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrillJob:
    """A proof says what was seen, good or bad. What could not be carried out raises, and leaves none."""

    means: DrillMeans
    chooser: DrillChooser
    place: DrillPlace
    book: ProofBook
    clock: Clock
    flykeep_version: str

    async def run(self, work: TargetWork) -> Outcome:
        plan = plan_drill(self.means, wanted=work.run.request.source)
        await work.journal.step("plan", source=plan.source, why="; ".join(plan.reasons))
        rehearsal = await self.chooser.choose(work, plan)
        await self._tell(work, rehearsal)
        started_at = self.clock.now()
        proof = await self._rehearse(work, rehearsal, started_at)
        stores = self._stores(work, rehearsal)
        kept = await self.book.keep(proof, stores=stores)
        await work.journal.step("proof", outcome=proof.outcome.value, reason=proof.reason, store=", ".join(stores))
        return _outcome(kept, stores)

    async def _tell(self, work: TargetWork, rehearsal: Rehearsal) -> None:
        source = rehearsal.source
        await work.journal.step(
            "chosen",
            snapshot=source.snapshot_id,
            export_id=source.export_id,
            as_of=source.as_of_at.isoformat(),
            compared_with=rehearsal.against.export_id if rehearsal.against else None,
        )

    async def _rehearse(self, work: TargetWork, rehearsal: Rehearsal, started_at: datetime) -> Proof:
        """What is not as it was written is a result too; everything else that stops a drill is none."""
        try:
            if rehearsal.restored is not None:
                await self.chooser.trust(rehearsal.restored)
            result = await self.place.carry_out(work, rehearsal)
        except (IntegrityError, StoreNotFoundError) as error:
            return self._proof(work, rehearsal, started_at, result=None, reason=str(error))
        against = rehearsal.against
        reason = why_failed(
            files=result.files,
            probes=result.probes,
            comparison=result.comparison,
            compared_with=against.export_id if against else None,
        )
        return self._proof(work, rehearsal, started_at, result=result, reason=reason)

    def _proof(
        self,
        work: TargetWork,
        rehearsal: Rehearsal,
        started_at: datetime,
        *,
        result: DrillResult | None,
        reason: str | None,
    ) -> Proof:
        return Proof(
            proof_id=ProofId(work.run.id),
            lineage_id=work.lineage.id,
            app=work.lineage.app,
            volume_name=work.lineage.volume_name,
            volume_id=rehearsal.volume_id,
            policy=work.rule.policy.name,
            source=rehearsal.source,
            started_at=started_at,
            ended_at=self.clock.now(),
            flykeep_version=self.flykeep_version,
            outcome=ProofOutcome.PASSED if reason is None else ProofOutcome.FAILED,
            reason=None if reason is None else printable(reason),
            contents=Contents(result.files, result.content_bytes) if result else None,
            probes=tuple(replace(one, detail=printable(one.detail)) for one in result.probes) if result else (),
            against=_against(rehearsal, result),
            timings=result.timings if result else (),
        )

    def _stores(self, work: TargetWork, rehearsal: Rehearsal) -> tuple[str, ...]:
        """The proof stands beside the target's copies, so that whoever has them has it."""
        wanted = [copy.store for copy in work.rule.policy.copies]
        wanted += [rehearsal.source.store] if rehearsal.source.store else []
        return tuple(name for name in dict.fromkeys(wanted) if name in self.book.stores)


def _against(rehearsal: Rehearsal, result: DrillResult | None) -> Against | None:
    artifact = rehearsal.against
    if artifact is None or result is None or result.comparison is None:
        return None
    return Against(artifact.export_id, artifact.store, artifact.manifest.started_at, result.comparison)


def _outcome(kept: Kept, stores: tuple[str, ...]) -> Outcome:
    proof = kept.recorded.proof
    written = tuple(name for name in stores if name not in kept.not_stored)
    result = to_json(DrillJobResult(proof, kept.recorded.signer_hex, written, kept.not_stored))
    if not proof.is_passed:
        error = DrillFailedError(
            f"the restore failed: {proof.reason}", facts={"app": proof.app, "volume": proof.volume_id}
        )
        return Outcome(RunState.FAILED, result, failure=failure_of(error))
    return Outcome(RunState.DEGRADED if kept.not_stored else RunState.SUCCEEDED, result)

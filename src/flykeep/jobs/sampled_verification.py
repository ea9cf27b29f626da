"""Verify stored artifacts by turns, within a budget of bytes: those first that nobody looked at for longest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flykeep.domain.artifact import Artifact
from flykeep.domain.documents import to_json
from flykeep.domain.errors import FlykeepError, IntegrityError, StoreError, WorkerError
from flykeep.domain.run import Outcome, RunState
from flykeep.domain.verification import plan_sample
from flykeep.jobs.context import OrgWork
from flykeep.jobs.verify import VerifyJob


@dataclass(frozen=True, slots=True)
class Looked:
    """One artifact that was looked at; `result` is the level that was verified, or why it was not."""

    export_id: str
    store: str
    result: str


@dataclass(frozen=True, slots=True)
class SampleReport:
    """`unknown` are those that could not be read: that says nothing about them, and their turn stays."""

    verified: tuple[Looked, ...]
    failed: tuple[Looked, ...]
    unknown: tuple[Looked, ...]
    bytes_read: int
    waiting: int
    left_out: int


@dataclass(slots=True)
class _Tally:
    verified: list[Looked]
    failed: list[Looked]
    unknown: list[Looked]
    bytes_read: int = 0
    outage: FlykeepError | None = None


@dataclass(frozen=True, slots=True)
class SampledVerification:
    """As deep as the keys at hand allow: contents where data can be opened, else every stored byte.

    A failure is remembered with the artifact, and the next check opens the incident from there.
    """

    verify: VerifyJob
    budget_bytes: int

    async def run(self, work: OrgWork) -> Outcome:
        """Degraded where an artifact failed or could not be read; raises what a store said where none could be."""
        async with self.verify.catalog.transaction() as tx:
            plan = plan_sample(await tx.artifacts(), stores=self.verify.stores, budget_bytes=self.budget_bytes)
        await work.journal.step("plan", artifacts=len(plan.chosen), waiting=plan.waiting)
        tally = await self._look(plan.chosen, work)
        if tally.outage is not None and not tally.verified and not tally.failed:
            raise tally.outage
        report = SampleReport(
            tuple(tally.verified),
            tuple(tally.failed),
            tuple(tally.unknown),
            tally.bytes_read,
            plan.waiting,
            plan.left_out,
        )
        is_good = not report.failed and not report.unknown
        return Outcome(RunState.SUCCEEDED if is_good else RunState.DEGRADED, to_json(report))

    async def _look(self, chosen: Iterable[Artifact], work: OrgWork) -> _Tally:
        tally = _Tally([], [], [])
        for artifact in chosen:
            level = self.verify.deepest(artifact)
            try:
                result = await self.verify.verify(artifact, level=level.value)
            except IntegrityError as error:
                tally.failed.append(Looked(artifact.export_id, artifact.store, str(error)))
                await work.journal.step(
                    "verification failed", artifact=artifact.export_id, store=artifact.store, error=str(error)
                )
            except (StoreError, WorkerError) as error:
                tally.unknown.append(Looked(artifact.export_id, artifact.store, str(error)))
                tally.outage = tally.outage or error
            else:
                tally.verified.append(Looked(artifact.export_id, artifact.store, result.level))
                tally.bytes_read += result.bytes_read
        return tally

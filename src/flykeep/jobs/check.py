"""Evaluate every target against its policy: read Fly, decide, remember, tell people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flykeep.domain.compliance import evaluate
from flykeep.domain.compliance_org import OrgCompliance, OrgFacts, evaluate_org, with_proof_flaws
from flykeep.domain.describing import with_undescribed
from flykeep.domain.documents import to_json
from flykeep.domain.errors import FlyError
from flykeep.domain.findings import Compliance, Finding
from flykeep.domain.fly import Inventory
from flykeep.domain.ids import LineageId
from flykeep.domain.lineages import LineagePlan, resolve_lineages, rule_of
from flykeep.domain.policy import Schedule, TargetRule
from flykeep.domain.proof import ProofFlaw
from flykeep.domain.recover_findings import with_half_recoveries
from flykeep.domain.restore_phases import volumes_in_the_making
from flykeep.domain.run import Outcome, RunState
from flykeep.domain.runbook_state import with_stale_runbooks
from flykeep.domain.target import Lineage
from flykeep.jobs.alerting import Alerting
from flykeep.jobs.context import OrgWork
from flykeep.jobs.describing import Describer
from flykeep.jobs.facts import FactReader, Reading
from flykeep.jobs.proofs import ProofBook
from flykeep.jobs.recover_log import half_recoveries
from flykeep.jobs.restore_log import restores
from flykeep.jobs.retention_facts import retention_facts
from flykeep.jobs.runbook import Runbooks
from flykeep.jobs.statefile import StateWriter
from flykeep.jobs.store_notes import lax_stores
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock, IdSource


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What one check says of every target and of the organization."""

    verdicts: tuple[Compliance, ...]
    org: OrgCompliance

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for verdict in self.verdicts for finding in verdict.findings) + self.org.findings

    @property
    def is_conclusive(self) -> bool:
        return self.org.is_conclusive and self.org.is_inventory_complete


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What the run keeps of a report."""

    targets: int
    verdicts: dict[str, int]
    findings: tuple[str, ...]
    is_conclusive: bool


@dataclass(frozen=True, slots=True)
class CheckJob:
    """One check of everything. Unknown is neither green nor stale: it resolves nothing and claims nothing."""

    facts: FactReader
    catalog: Catalog
    clock: Clock
    ids: IdSource
    rules: tuple[TargetRule, ...]
    org: str
    alerting: Alerting
    state_writer: StateWriter
    book: ProofBook | None = None
    prune_schedule: Schedule | None = None
    describer: Describer | None = None
    runbooks: Runbooks | None = None

    async def run(self, work: OrgWork) -> Outcome:
        """Check, record incidents, enqueue messages; the run succeeds whatever the verdicts are."""
        await work.journal.step("read Fly")
        report = await self._evaluate()
        if self.runbooks is not None:
            await self.runbooks.renew_all(work.journal)
        report = await self._with_runbooks(report)
        await work.journal.step("judged", targets=len(report.verdicts), findings=len(report.findings))
        await self.alerting.record(report.verdicts, report.org, check_id=work.run.id)
        written = await self.state_writer.write()
        if written:
            await work.journal.step("state renewed", stores=", ".join(written))
        return Outcome(RunState.SUCCEEDED, to_json(_result(report)))

    async def evaluate(self) -> CheckReport:
        """Read Fly and judge; remembers lineages, snapshots, configurations and verdicts, but opens no incident."""
        return await self._with_runbooks(await self._evaluate())

    async def _with_runbooks(self, report: CheckReport) -> CheckReport:
        """The report with what could not be written when it was last tried."""
        if self.runbooks is None:
            return report
        return replace(report, org=with_stale_runbooks(report.org, await self.runbooks.stale()))

    async def _evaluate(self) -> CheckReport:
        flaws = await self.book.read_new() if self.book else ()
        try:
            inventory = await self.facts.fly.inventory()
        except FlyError as error:
            return await self._without_fly(error, flaws)
        plan = await self.refresh_lineages(inventory)
        readings = await self.facts.read(plan)
        await self.facts.remember(plan, readings, inventory)
        report = await self._judge(plan, readings, inventory, flaws)
        if self.describer is None:
            return report
        described = await self.describer.renew(inventory, {state.lineage.app for state in plan.current})
        return replace(report, org=with_undescribed(report.org, described, now=self.clock.now()))

    async def refresh_lineages(self, inventory: Inventory | None = None) -> LineagePlan:
        """Bring the catalog's lineages up to what Fly holds now; raises FlyError where that can't be read."""
        seen = inventory or await self.facts.fly.inventory()
        async with self.catalog.transaction() as tx:
            plan = resolve_lineages(
                await tx.lineages(include_retired=True),
                seen,
                rules=self.rules,
                now=self.clock.now(),
                new_id=lambda: LineageId(self.ids.token()),
                passing=volumes_in_the_making(await restores(tx), seen.volumes),
            )
            for lineage in plan.saved:
                await tx.save_lineage(lineage)
        return plan

    async def _judge(
        self,
        plan: LineagePlan,
        readings: dict[LineageId, Reading],
        inventory: Inventory,
        flaws: tuple[ProofFlaw, ...],
    ) -> CheckReport:
        everyone = tuple(state.lineage for state in plan.current) + plan.gone + plan.unseen
        read = [(lineage, readings.get(lineage.id, Reading())) for lineage in everyone]
        verdicts = await self._verdicts(read, is_inventory_complete=inventory.is_complete)
        async with self.catalog.transaction() as tx:
            seen_at = await tx.fly_seen_at()
            retention = await retention_facts(tx, self.rules, self.prune_schedule, now=self.clock.now())
            lax = await lax_stores(tx, {copy.store for rule in self.rules for copy in rule.policy.copies})
        org = OrgFacts(
            org=self.org,
            inventory=inventory,
            lax_stores=lax,
            retention=retention,
            rules=self.rules,
            unprotected=plan.unprotected,
            lineages=everyone + plan.retired,
            fly_seen_at=seen_at,
        )
        return await self._report(verdicts, org, flaws)

    async def _without_fly(self, error: FlyError, flaws: tuple[ProofFlaw, ...]) -> CheckReport:
        """Fly did not answer: every target is unknown, its last verdict stands, one incident tells of the outage."""
        async with self.catalog.transaction() as tx:
            lineages = tuple(await tx.lineages())
            seen_at = await tx.fly_seen_at()
        reading = Reading(unknown_reason=error.message)
        verdicts = await self._verdicts([(lineage, reading) for lineage in lineages], is_inventory_complete=False)
        org = OrgFacts(
            org=self.org, inventory=None, rules=self.rules, lineages=lineages, fly_seen_at=seen_at, failure=str(error)
        )
        return await self._report(verdicts, org, flaws)

    async def _verdicts(
        self, readings: Sequence[tuple[Lineage, Reading]], *, is_inventory_complete: bool
    ) -> list[Compliance]:
        """One verdict per lineage that a rule still matches; of the others nothing is wanted."""
        verdicts: list[Compliance] = []
        for facts in await self.facts.gather(readings):
            rule = rule_of(facts.lineage, self.rules)
            if rule is not None:
                judged = replace(facts, is_inventory_complete=is_inventory_complete)
                verdicts.append(evaluate(judged, rule, now=self.clock.now()))
        return verdicts

    async def _report(self, verdicts: list[Compliance], org: OrgFacts, flaws: tuple[ProofFlaw, ...]) -> CheckReport:
        async with self.catalog.transaction() as tx:
            for verdict in verdicts:
                await tx.save_verdict(verdict)
            half = await half_recoveries(tx)
        now = self.clock.now()
        judged = with_proof_flaws(evaluate_org(org, now=now), flaws, now=now)
        return CheckReport(tuple(verdicts), with_half_recoveries(judged, half, org.inventory, of=self.org))


def _result(report: CheckReport) -> CheckResult:
    counts: dict[str, int] = {}
    for verdict in report.verdicts:
        counts[verdict.verdict.value] = counts.get(verdict.verdict.value, 0) + 1
    keys = tuple(f"{finding.code.value} {finding.subject.label}" for finding in report.findings)
    return CheckResult(len(report.verdicts), counts, keys, report.is_conclusive)

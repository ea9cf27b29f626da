"""Whether one lineage is what its policy wants, from facts that were read; what was not read is never guessed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from flykeep.domain.artifact import Artifact
from flykeep.domain.compliance_drill import drill_findings
from flykeep.domain.compliance_export import export_findings, is_export_wanted, newest_restorable
from flykeep.domain.compliance_import import import_findings
from flykeep.domain.compliance_restore import restore_findings
from flykeep.domain.compliance_snapshot import newest_restorable_at, snapshot_findings
from flykeep.domain.compliance_verification import VerificationFacts, verification_findings
from flykeep.domain.compliance_volume import gone_finding, volume_findings
from flykeep.domain.findings import Compliance, Finding, FindingCode, Proven, Severity, Subject, Verdict
from flykeep.domain.fly import Machine, Volume, VolumeSnapshot
from flykeep.domain.imports import ImportRecord
from flykeep.domain.policy import DrillRule, JobKind, Policy, TargetRule
from flykeep.domain.proof import RecordedProof
from flykeep.domain.restore_phases import RestoreRecord
from flykeep.domain.run import Run, RunState
from flykeep.domain.subjects import lineage_subject
from flykeep.domain.target import Lineage
from flykeep.domain.wording import ago, instant, span

_FAILED = frozenset({RunState.FAILED, RunState.INTERRUPTED})


@dataclass(frozen=True, slots=True)
class PauseFact:
    """Planned silence for a lineage; `until_at` None lasts until somebody resumes it."""

    until_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class LineageFacts:
    """Everything a check knows of one lineage.

    `volume` None is gone where `is_inventory_complete`, else merely unseen. `snapshots` are those of all volume ids the
    lineage has had; None means that they could not be read. `artifacts` are its copies in all stores. `last_runs` holds
    the newest ended run of each kind. `proven_snapshot_at` is the newest restorable snapshot the catalog remembers;
    `pending_seen_at` is when a pending row that carries no instant was first noticed. `is_primary` false means that
    another instance of the same target is the one that is exported where its rule says `instances = "primary"`.
    `drill_obstacle` is why no restore can be rehearsed here. `restores` and `imports` are those that are not over,
    `is_restoring` and `is_importing` hold while a run works on one.
    """

    lineage: Lineage
    label: str
    volume: Volume | None
    machine: Machine | None
    snapshots: tuple[VolumeSnapshot, ...] | None
    artifacts: tuple[Artifact, ...] = ()
    verification: VerificationFacts = field(default_factory=VerificationFacts)
    pause: PauseFact | None = None
    last_runs: tuple[Run, ...] = ()
    last_conclusive: Compliance | None = None
    proven_snapshot_at: datetime | None = None
    pending_seen_at: datetime | None = None
    newest_proof: RecordedProof | None = None
    newest_passed_proof: RecordedProof | None = None
    drill_obstacle: str | None = None
    restores: tuple[RestoreRecord, ...] = ()
    is_restoring: bool = False
    imports: tuple[ImportRecord, ...] = ()
    is_importing: bool = False
    is_inventory_complete: bool = True
    is_primary: bool = True
    unknown_reason: str | None = None

    @property
    def is_gone(self) -> bool:
        return self.volume is None and self.is_inventory_complete

    @property
    def subject(self) -> Subject:
        return lineage_subject(self.lineage, self.label)


def evaluate(facts: LineageFacts, rule: TargetRule, *, now: datetime) -> Compliance:
    """Judge one lineage. Only a conclusive answer says fine or stale; see `Compliance` for the others."""
    is_exported = facts.is_primary or rule.instances != "primary"
    policy = rule.policy if is_exported else replace(rule.policy, copies=(), drill=DrillRule())
    if facts.pause is not None:
        return _paused(facts, facts.pause, now=now)
    if facts.volume is None and not facts.is_gone:
        return _unknown(facts, policy, reason=facts.unknown_reason or "its volume was not listed", now=now)
    if facts.snapshots is None and not facts.is_gone:
        return _unknown(facts, policy, reason=facts.unknown_reason or "its snapshots could not be read", now=now)
    return _conclusive(facts, policy, now=now)


def _conclusive(facts: LineageFacts, policy: Policy, *, now: datetime) -> Compliance:
    snapshots = facts.snapshots or ()
    subject = facts.subject
    findings: list[Finding] = []
    if facts.volume is None:
        findings.append(gone_finding(subject, facts.lineage, snapshots))
    else:
        findings += snapshot_findings(
            subject,
            snapshots,
            volume=facts.volume,
            policy=policy,
            pending_seen_at=facts.pending_seen_at,
            now=now,
        )
        findings += volume_findings(subject, facts.volume, facts.machine, policy=policy, now=now)
    last_run = next((run for run in facts.last_runs if run.kind is JobKind.EXPORT), None)
    findings += export_findings(
        subject, facts.artifacts, policy=policy, lineage=facts.lineage, last_run=last_run, now=now
    )
    findings += drill_findings(
        subject,
        newest=facts.newest_proof,
        newest_passed=facts.newest_passed_proof,
        last_run=next((run for run in facts.last_runs if run.kind is JobKind.DRILL), None),
        obstacle=facts.drill_obstacle,
        policy=policy,
        lineage=facts.lineage,
        now=now,
    )
    findings += verification_findings(subject, facts.artifacts, facts.verification, now=now)
    findings += _run_findings(subject, facts)
    findings += restore_findings(subject, facts.restores, is_at_work=facts.is_restoring, now=now)
    findings += import_findings(subject, facts.imports, is_at_work=facts.is_importing, now=now)
    if not policy.is_alarming:
        findings = [replace(finding, severity=Severity.INFO) for finding in findings]
    newest_at = newest_restorable_at(snapshots) or (_proven_snapshot_at(facts) if facts.is_gone else None)
    good_at = _newest(newest_at, _newest_export_at(facts))
    findings = [replace(finding, last_good_at=finding.last_good_at or good_at) for finding in findings]
    return _compliance(
        facts,
        verdict=_verdict(findings, policy),
        findings=tuple(sorted(findings, key=lambda finding: finding.key)),
        newest_snapshot_at=newest_at,
        now=now,
    )


def _verdict(findings: list[Finding], policy: Policy) -> Verdict:
    if any(finding.severity.is_unhealthy for finding in findings):
        return Verdict.UNHEALTHY
    return Verdict.HEALTHY if _is_watched(policy) else Verdict.UNWATCHED


def _is_watched(policy: Policy) -> bool:
    rule = policy.snapshot
    return (
        rule.max_age is not None
        or rule.retention_days is not None
        or rule.is_automatic_wanted
        or is_export_wanted(policy)
        or policy.drill.max_age is not None
    )


def _paused(facts: LineageFacts, pause: PauseFact, *, now: datetime) -> Compliance:
    until = f"until {instant(pause.until_at)}" if pause.until_at else "until it is resumed"
    return _compliance(
        facts,
        verdict=Verdict.PAUSED,
        newest_snapshot_at=newest_restorable_at(facts.snapshots or ()) or _proven_snapshot_at(facts),
        # Inconclusive: silence must not announce that what was wrong is resolved.
        is_conclusive=False,
        reason=f"paused {until}: {pause.reason}",
        now=now,
    )


def _unknown(facts: LineageFacts, policy: Policy, *, reason: str, now: datetime) -> Compliance:
    last = facts.last_conclusive
    standing = (
        f"the last verdict, {last.verdict} at {ago(last.evaluated_at, now=now)}, stands" if last else "never judged"
    )
    unproven = _unproven_finding(facts, policy, now=now)
    return _compliance(
        facts,
        verdict=Verdict.UNKNOWN,
        findings=(unproven,) if unproven else (),
        newest_snapshot_at=_proven_snapshot_at(facts),
        is_conclusive=False,
        reason=f"{reason}; {standing}",
        now=now,
    )


def _compliance(
    facts: LineageFacts,
    *,
    verdict: Verdict,
    newest_snapshot_at: datetime | None,
    now: datetime,
    findings: tuple[Finding, ...] = (),
    is_conclusive: bool = True,
    reason: str | None = None,
) -> Compliance:
    newest_export_at = _newest_export_at(facts)
    return Compliance(
        lineage_id=facts.lineage.id,
        label=facts.label,
        verdict=verdict,
        findings=findings,
        evaluated_at=now,
        newest_snapshot_at=newest_snapshot_at,
        newest_export_at=newest_export_at,
        restorable_as_of=_newest(newest_snapshot_at, newest_export_at),
        proof=_proven(facts),
        is_conclusive=is_conclusive,
        reason=reason,
    )


def _proven(facts: LineageFacts) -> Proven | None:
    """The newest restore that worked, and whether the newest one rehearsed did."""
    passed, newest = facts.newest_passed_proof, facts.newest_proof
    if passed is None:
        return None
    proof = passed.proof
    return Proven(
        proof_id=proof.proof_id,
        source=proof.source.kind,
        at=proof.ended_at,
        as_of_at=proof.source.as_of_at,
        took_s=proof.restore_took.total_seconds(),
        is_newest=newest is None or newest.proof.is_passed,
    )


def _proven_snapshot_at(facts: LineageFacts) -> datetime | None:
    last = facts.last_conclusive
    return _newest(facts.proven_snapshot_at, last.newest_snapshot_at if last else None)


def _unproven_finding(facts: LineageFacts, policy: Policy, *, now: datetime) -> Finding | None:
    """The page that an outage earns: nothing known proves any more that the data's age is within the policy."""
    max_age = policy.snapshot.max_age or (policy.export.max_age if is_export_wanted(policy) else None)
    if max_age is None or not policy.is_alarming:
        return None
    proven_at = _newest(_proven_snapshot_at(facts), _newest_export_at(facts))
    grace = policy.new_volume_grace if proven_at is None else max_age
    since_at = (proven_at or facts.lineage.first_seen_at) + max(grace, max_age)
    if now <= since_at:
        return None
    newest = f"the newest one known is {span(now - proven_at)} old" if proven_at else "none is known"
    return Finding(
        code=FindingCode.RPO_UNPROVEN,
        severity=Severity.CRITICAL,
        subject=facts.subject,
        summary=f"Nobody can say that a backup younger than {span(max_age)} exists: {newest}, and Fly can't be read.",
        since_at=since_at,
        last_good_at=proven_at,
        next_step=f"flykeep doctor; then flykeep snapshot {facts.label}",
    )


def _run_findings(subject: Subject, facts: LineageFacts) -> list[Finding]:
    failed = sorted(
        (run for run in facts.last_runs if run.kind is not JobKind.DRILL and run.state in _FAILED),
        key=lambda run: (run.ended_at or run.requested_at, run.id),
    )
    if not failed:
        return []
    reasons = "; ".join(f"{run.kind} run {run.id} {_why(run)}" for run in failed)
    newest = failed[-1]
    return [
        Finding(
            code=FindingCode.RUN_FAILED,
            severity=Severity.WARNING,
            subject=subject,
            summary=f"The last attempt did not succeed: {reasons}.",
            since_at=failed[0].ended_at or failed[0].requested_at,
            last_good_at=_last_good_at(facts, newest.kind),
            next_step=f"flykeep runs {newest.id}",
        )
    ]


def _why(run: Run) -> str:
    failure = run.outcome.failure if run.outcome else None
    if failure is None:
        return f"was {run.state}"
    store = dict(failure.facts).get("store")
    return f"failed{f' for store {store}' if store else ''}: {failure.message}"


def _last_good_at(facts: LineageFacts, kind: JobKind) -> datetime | None:
    if kind is JobKind.EXPORT:
        return _newest_export_at(facts)
    return newest_restorable_at(facts.snapshots or ()) or _proven_snapshot_at(facts)


def _newest_export_at(facts: LineageFacts) -> datetime | None:
    newest = newest_restorable(facts.artifacts)
    return newest.manifest.started_at if newest else None


def _newest(*instants: datetime | None) -> datetime | None:
    return max((at for at in instants if at is not None), default=None)

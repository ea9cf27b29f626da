"""What a policy says of the restores that were rehearsed. Only a proof counts: a drill that could not run is none."""

from __future__ import annotations

from datetime import datetime

from flykeep.domain.errors import DrillFailedError
from flykeep.domain.findings import Finding, FindingCode, Severity, Subject
from flykeep.domain.policy import JobKind, Policy
from flykeep.domain.proof import RecordedProof
from flykeep.domain.run import Run, RunState
from flykeep.domain.target import Lineage
from flykeep.domain.wording import instant, span

_NOT_RUN = frozenset({RunState.FAILED, RunState.REFUSED, RunState.INTERRUPTED})


def drill_findings(
    subject: Subject,
    *,
    newest: RecordedProof | None,
    newest_passed: RecordedProof | None,
    last_run: Run | None,
    obstacle: str | None,
    policy: Policy,
    lineage: Lineage,
    now: datetime,
) -> list[Finding]:
    """Every wrong fact about drills. `obstacle` is why none can run here.

    A failed proof, and an attempt that could not run, are told whatever the policy wants: somebody asked for it.
    """
    found = (
        _failed(subject, newest, newest_passed),
        _not_run(subject, newest, newest_passed, last_run),
        _age(subject, newest_passed, policy=policy, lineage=lineage, obstacle=obstacle, now=now),
    )
    return [finding for finding in found if finding is not None]


def _failed(subject: Subject, newest: RecordedProof | None, passed: RecordedProof | None) -> Finding | None:
    if newest is None or newest.proof.is_passed:
        return None
    proof = newest.proof
    return Finding(
        code=FindingCode.DRILL_FAILED,
        severity=Severity.CRITICAL,
        subject=subject,
        summary=f"The last rehearsed restore, {proof.proof_id} from {_source(newest)}, failed: {proof.reason}.",
        since_at=proof.ended_at,
        last_good_at=_ended_at(passed),
        next_step=f"flykeep runs {proof.proof_id}; then flykeep drill {subject.label}",
    )


def _source(recorded: RecordedProof) -> str:
    source = recorded.proof.source
    named = source.snapshot_id if source.export_id is None else source.export_id
    return f"{source.kind} {named} of {instant(source.as_of_at)}"


def _not_run(
    subject: Subject, newest: RecordedProof | None, passed: RecordedProof | None, run: Run | None
) -> Finding | None:
    """The last attempt gave no proof at all."""
    if run is None or run.kind is not JobKind.DRILL or run.state not in _NOT_RUN:
        return None
    ended_at = run.ended_at or run.requested_at
    failure = run.outcome.failure if run.outcome else None
    is_proof = failure is not None and failure.code == DrillFailedError.code
    if is_proof or (newest is not None and newest.proof.ended_at >= ended_at):
        return None
    why = failure.message if failure else f"it was {run.state}"
    return Finding(
        code=FindingCode.DRILL_NOT_RUN,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"The last drill, run {run.id}, could not be carried out and proves nothing: {why}.",
        since_at=ended_at,
        last_good_at=_ended_at(passed),
        next_step=f"flykeep runs {run.id}; then flykeep drill {subject.label}",
    )


def _age(
    subject: Subject,
    passed: RecordedProof | None,
    *,
    policy: Policy,
    lineage: Lineage,
    obstacle: str | None,
    now: datetime,
) -> Finding | None:
    rule = policy.drill
    proven_at = _ended_at(passed)
    due_at = None if rule.max_age is None else (proven_at or lineage.first_seen_at) + rule.max_age
    is_due = due_at is not None and now > due_at
    if obstacle is not None and rule.is_wanted and (is_due or proven_at is None):
        return Finding(
            code=FindingCode.DRILL_IMPOSSIBLE,
            # What only a preset wishes is told and alarms nobody.
            severity=Severity.WARNING if rule.is_asked else Severity.INFO,
            subject=subject,
            summary=f"Nobody rehearses a restore of this volume: {obstacle}.",
            since_at=lineage.first_seen_at if proven_at is None else due_at or proven_at,
            last_good_at=proven_at,
            next_step="set [worker] image or identity_secret, or rehearse elsewhere (docs/how-to/drill-a-restore.md)",
        )
    if due_at is None or rule.max_age is None or not is_due:
        return None
    ago = f"The newest proof is {span(now - proven_at)} old" if proven_at else "No restore was ever rehearsed"
    return Finding(
        code=FindingCode.DRILL_STALE if proven_at else FindingCode.DRILL_MISSING,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"{ago}; the policy allows {span(rule.max_age)}.",
        since_at=due_at,
        last_good_at=proven_at,
        next_step=f"flykeep drill {subject.label}",
    )


def _ended_at(recorded: RecordedProof | None) -> datetime | None:
    return recorded.proof.ended_at if recorded else None

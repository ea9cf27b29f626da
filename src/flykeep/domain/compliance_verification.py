"""What verifications say of the artifacts a lineage has in its stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flykeep.domain.artifact import Artifact
from flykeep.domain.findings import Finding, FindingCode, Severity, Subject
from flykeep.domain.ids import ExportId
from flykeep.domain.verification import last_seen_whole_at
from flykeep.domain.wording import span


@dataclass(frozen=True, slots=True)
class VerificationFacts:
    """`max_age` None means that nobody wants artifacts verified; `failures` are the words of the failed ones."""

    max_age: timedelta | None = None
    failures: Mapping[tuple[ExportId, str], str] = field(default_factory=dict)


def verification_findings(
    subject: Subject, artifacts: tuple[Artifact, ...], facts: VerificationFacts, *, now: datetime
) -> list[Finding]:
    """One for all artifacts that failed, one for all whose verification is overdue; those on their way out are none."""
    present = [artifact for artifact in artifacts if artifact.leaving_at is None]
    found = (_failed(subject, present, facts), _overdue(subject, present, facts, now=now))
    return [finding for finding in found if finding is not None]


def _failed(subject: Subject, artifacts: list[Artifact], facts: VerificationFacts) -> Finding | None:
    failed = sorted((one for one in artifacts if one.is_failed), key=lambda one: (one.export_id, one.store))
    if not failed:
        return None
    words = "; ".join(_words(one, facts) for one in failed[:3])
    more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
    return Finding(
        code=FindingCode.ARTIFACT_FAILED,
        severity=Severity.CRITICAL,
        subject=subject,
        summary=f"Not what was written, and no backup any more: {words}{more}.",
        since_at=min(last_seen_whole_at(one) for one in failed),
        last_good_at=None,
        next_step=f"flykeep artifact verify {failed[-1].export_id} --store {failed[-1].store}; "
        f"then flykeep export {subject.label}, and find out who changed it",
    )


def _words(artifact: Artifact, facts: VerificationFacts) -> str:
    reason = facts.failures.get((artifact.export_id, artifact.store))
    return f"{artifact.export_id} in {artifact.store}" + (f" ({reason.rstrip('.')})" if reason else "")


def _overdue(subject: Subject, artifacts: list[Artifact], facts: VerificationFacts, *, now: datetime) -> Finding | None:
    if facts.max_age is None:
        return None
    late = [one for one in artifacts if one.satisfies_rpo and now - last_seen_whole_at(one) > facts.max_age]
    if not late:
        return None
    oldest = min(late, key=last_seen_whole_at)
    seen_at = last_seen_whole_at(oldest)
    return Finding(
        code=FindingCode.VERIFICATION_OVERDUE,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"{len(late)} of {len(artifacts)} artifacts were not verified for {span(facts.max_age)} or longer; "
        f"{oldest.export_id} in {oldest.store} not for {span(now - seen_at)}.",
        since_at=seen_at + facts.max_age,
        last_good_at=None,
        next_step=f"flykeep artifact verify {oldest.export_id} --store {oldest.store}; or raise [verify] budget_gb",
    )

"""What a policy says of the artifacts a lineage has in its stores."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from flykeep.domain.artifact import Artifact
from flykeep.domain.findings import Finding, FindingCode, Severity, Subject
from flykeep.domain.policy import Policy
from flykeep.domain.target import Lineage
from flykeep.domain.wording import span


def is_export_wanted(policy: Policy) -> bool:
    """Exports are judged only where there is a store to export to and an age to hold."""
    return bool(policy.copies) and policy.export.max_age is not None


def newest_restorable(artifacts: Iterable[Artifact]) -> Artifact | None:
    """The newest artifact of any store that may count as a backup; its age counts from when its reading began."""
    return max((artifact for artifact in artifacts if artifact.satisfies_rpo), key=_begun_at, default=None)


def export_findings(
    subject: Subject, artifacts: tuple[Artifact, ...], *, policy: Policy, lineage: Lineage, now: datetime
) -> list[Finding]:
    """Every wrong fact about the artifacts, none where the policy wants no exports."""
    if not is_export_wanted(policy):
        return []
    newest = newest_restorable(artifacts)
    found = (
        _age(subject, newest, policy=policy, lineage=lineage, now=now),
        _not_restorable(subject, artifacts, newest=newest),
    )
    return [finding for finding in found if finding is not None]


def _age(
    subject: Subject, newest: Artifact | None, *, policy: Policy, lineage: Lineage, now: datetime
) -> Finding | None:
    max_age = policy.export.max_age
    assert max_age is not None
    newest_at = newest.manifest.started_at if newest else None
    due_at = (newest_at or lineage.first_seen_at) + max_age
    if now <= due_at:
        return None
    summary = f"The newest restorable export is {span(now - newest_at)} old" if newest_at else "There is no export"
    return Finding(
        code=FindingCode.EXPORT_STALE if newest else FindingCode.EXPORT_MISSING,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"{summary}; the policy allows {span(max_age)}.",
        since_at=due_at,
        last_good_at=newest_at,
        next_step=f"flykeep export {subject.label}",
    )


def _not_restorable(subject: Subject, artifacts: tuple[Artifact, ...], *, newest: Artifact | None) -> Finding | None:
    # What a person asked for in parts says nothing about the exports that the policy wants.
    whole = (artifact for artifact in artifacts if not artifact.manifest.is_partial)
    latest = max(whole, key=_begun_at, default=None)
    if latest is None or (newest is not None and _begun_at(newest) >= _begun_at(latest)):
        return None
    if latest.is_failed:
        reason = "did not pass its verification"
        next_step = f"flykeep artifact verify {latest.export_id}; then flykeep export {subject.label}"
    else:
        databases = ", ".join(latest.manifest.open_databases)
        reason = f"was read while SQLite was writing ({databases})"
        next_step = (
            "give the target a before_export hook that makes its databases consistent, or export from a snapshot"
        )
    return Finding(
        code=FindingCode.EXPORT_NOT_RESTORABLE,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"The newest export, {latest.export_id}, {reason} and does not count as a backup.",
        since_at=latest.manifest.started_at,
        last_good_at=newest.manifest.started_at if newest else None,
        next_step=next_step,
    )


def _begun_at(artifact: Artifact) -> datetime:
    return artifact.manifest.started_at

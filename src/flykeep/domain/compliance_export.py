"""What a policy says of the artifacts a lineage has in its stores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from flykeep.domain.artifact import Artifact
from flykeep.domain.findings import Finding, FindingCode, Severity, Subject
from flykeep.domain.policy import Policy
from flykeep.domain.run import Run
from flykeep.domain.target import Lineage
from flykeep.domain.wording import span

_SLOT_SPREAD = timedelta(hours=6)
"""Between the first and the last attempt of one slot, with the time it takes to read a large volume."""


def is_export_wanted(policy: Policy) -> bool:
    """Exports are judged only where there is a store to export to and an age to hold."""
    return bool(policy.copies) and policy.export.max_age is not None


def newest_restorable(artifacts: Iterable[Artifact]) -> Artifact | None:
    """The newest artifact of any store that may count as a backup; its age counts from when its reading began."""
    return max((artifact for artifact in artifacts if artifact.satisfies_rpo), key=_begun_at, default=None)


def export_findings(
    subject: Subject,
    artifacts: tuple[Artifact, ...],
    *,
    policy: Policy,
    lineage: Lineage,
    last_run: Run | None,
    now: datetime,
) -> list[Finding]:
    """Every wrong fact about the artifacts, none where the policy wants no exports.

    `last_run` is the newest export run that has ended.
    """
    if not is_export_wanted(policy):
        return []
    newest = newest_restorable(artifacts)
    found = (
        _age(subject, newest, policy=policy, lineage=lineage, now=now),
        _not_restorable(subject, artifacts, newest=newest),
        _on_platform(subject, policy=policy, lineage=lineage),
    )
    lacking = _copies_missing(subject, artifacts, newest=newest, policy=policy, last_run=last_run, now=now)
    return [*(finding for finding in found if finding is not None), *lacking]


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
    if latest is None or latest.is_failed or (newest is not None and _begun_at(newest) >= _begun_at(latest)):
        return None  # what failed its verification is a finding of its own
    databases = ", ".join(latest.manifest.open_databases)
    reason = f"was read while SQLite was writing ({databases})"
    next_step = "give the target a before_export hook that makes its databases consistent, or export from a snapshot"
    return Finding(
        code=FindingCode.EXPORT_NOT_RESTORABLE,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"The newest export, {latest.export_id}, {reason} and does not count as a backup.",
        since_at=latest.manifest.started_at,
        last_good_at=newest.manifest.started_at if newest else None,
        next_step=next_step,
    )


def _copies_missing(
    subject: Subject,
    artifacts: tuple[Artifact, ...],
    *,
    newest: Artifact | None,
    policy: Policy,
    last_run: Run | None,
    now: datetime,
) -> Iterator[Finding]:
    """Each store of the policy that lacks the newest export that no run can still be copying.

    Without any restorable export, or with one that is too old, the finding about its age says it all.
    """
    max_age = policy.export.max_age
    assert max_age is not None
    copied = newest_restorable(each for each in artifacts if _is_settled(each, last_run, now=now))
    if newest is None or copied is None or now > _begun_at(newest) + max_age:
        return
    for copy in policy.copies:
        held = newest_restorable(artifact for artifact in artifacts if artifact.store == copy.store)
        if held is None or not _is_of_the_same_slot(held, copied, max_age):
            yield _copy_missing(subject, copy.store, held, copied, now=now)


def _is_settled(artifact: Artifact, last_run: Run | None, *, now: datetime) -> bool:
    """Whether the run that made it is over: known of the newest run, else by the time that has passed."""
    ended_at = artifact.manifest.ended_at
    is_run_over = last_run is not None and last_run.ended_at is not None and last_run.ended_at >= ended_at
    return is_run_over or now - ended_at > _SLOT_SPREAD


def _is_of_the_same_slot(held: Artifact, copied: Artifact, max_age: timedelta) -> bool:
    """A slot whose first attempt failed in one store is read again for that store, under another id and later."""
    return held.export_id == copied.export_id or _begun_at(copied) - _begun_at(held) <= min(max_age / 4, _SLOT_SPREAD)


def _copy_missing(subject: Subject, store: str, held: Artifact | None, copied: Artifact, *, now: datetime) -> Finding:
    there = f"its newest restorable copy is {span(now - _begun_at(held))} old" if held else "it holds no restorable one"
    return Finding(
        code=FindingCode.EXPORT_COPY_MISSING,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"Store {store} lacks the newest export, {copied.export_id}: {there}.",
        since_at=copied.manifest.ended_at,
        last_good_at=_begun_at(held) if held else None,
        next_step=f"flykeep doctor --store {store}; then flykeep export {subject.label}",
        store=store,
    )


def _on_platform(subject: Subject, *, policy: Policy, lineage: Lineage) -> Finding | None:
    if not policy.is_kept_on_platform_only:
        return None
    stores = " and ".join(copy.store for copy in policy.copies)
    return Finding(
        code=FindingCode.EXPORT_ON_PLATFORM,
        severity=Severity.INFO,
        subject=subject,
        summary=f"Its exports go to {stores} only, which is lost together with the Fly account.",
        since_at=lineage.first_seen_at,
        last_good_at=None,
        next_step="add a copy in a store that somebody else runs",
    )


def _begun_at(artifact: Artifact) -> datetime:
    return artifact.manifest.started_at

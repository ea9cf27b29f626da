"""What a policy says of a list of snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from flykeep.domain.findings import Finding, FindingCode, Severity, Subject
from flykeep.domain.fly import Volume, VolumeSnapshot
from flykeep.domain.policy import Policy
from flykeep.domain.wording import span


def newest_restorable_at(snapshots: Iterable[VolumeSnapshot]) -> datetime | None:
    """When the newest snapshot that can be restored was made, whatever the order of the list."""
    return max((row.created_at for row in snapshots if row.is_restorable and row.created_at), default=None)


def snapshot_findings(
    subject: Subject,
    snapshots: tuple[VolumeSnapshot, ...],
    *,
    volume: Volume,
    policy: Policy,
    pending_seen_at: datetime | None,
    now: datetime,
) -> list[Finding]:
    """Every wrong fact about the list: age first, then what stands unfinished in it."""
    newest_at = newest_restorable_at(snapshots)
    found = (
        _age(subject, newest_at, volume=volume, policy=policy, now=now),
        _pending(subject, snapshots, newest_at=newest_at, policy=policy, pending_seen_at=pending_seen_at, now=now),
        _unknown_status(subject, snapshots, newest_at=newest_at, now=now),
    )
    return [finding for finding in found if finding is not None]


def _age(
    subject: Subject, newest_at: datetime | None, *, volume: Volume, policy: Policy, now: datetime
) -> Finding | None:
    max_age = policy.snapshot.max_age
    if max_age is None:
        return None
    if newest_at is None:
        return _missing(subject, due_at=volume.created_at + policy.new_volume_grace, now=now)
    if now - newest_at <= max_age:
        return None
    return Finding(
        code=FindingCode.SNAPSHOT_STALE,
        severity=Severity.CRITICAL,
        subject=subject,
        summary=f"The newest restorable snapshot is {span(now - newest_at)} old; the policy allows {span(max_age)}.",
        since_at=newest_at + max_age,
        last_good_at=newest_at,
        next_step=f"flykeep snapshot {subject.label}",
    )


def _missing(subject: Subject, *, due_at: datetime, now: datetime) -> Finding | None:
    if now <= due_at:
        return None
    return Finding(
        code=FindingCode.SNAPSHOT_MISSING,
        severity=Severity.CRITICAL,
        subject=subject,
        summary="The volume has no snapshot that can be restored.",
        since_at=due_at,
        last_good_at=None,
        next_step=f"flykeep snapshot {subject.label}",
    )


def _pending(
    subject: Subject,
    snapshots: tuple[VolumeSnapshot, ...],
    *,
    newest_at: datetime | None,
    policy: Policy,
    pending_seen_at: datetime | None,
    now: datetime,
) -> Finding | None:
    begun = [row.created_at or pending_seen_at for row in snapshots if row.is_pending]
    oldest_at = min((at for at in begun if at is not None), default=None)
    limit: timedelta = policy.snapshot.max_pending
    if oldest_at is None or now - oldest_at <= limit:
        return None
    return Finding(
        code=FindingCode.SNAPSHOT_PENDING_TOO_LONG,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"A snapshot has been pending for {span(now - oldest_at)}; {span(limit)} are allowed.",
        since_at=oldest_at + limit,
        last_good_at=newest_at,
        next_step=f"flykeep snapshots {subject.label}; if it stays pending, write to Fly's support",
    )


def _unknown_status(
    subject: Subject, snapshots: tuple[VolumeSnapshot, ...], *, newest_at: datetime | None, now: datetime
) -> Finding | None:
    """Rows that are no backup and will not become one, unless a later snapshot succeeded."""
    odd = [
        row
        for row in snapshots
        if not row.is_restorable
        and not row.is_pending
        and (row.created_at is None or newest_at is None or row.created_at > newest_at)
    ]
    if not odd:
        return None
    words = ", ".join(sorted({repr(row.status) for row in odd}))
    return Finding(
        code=FindingCode.SNAPSHOT_STATUS_UNKNOWN,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"{len(odd)} snapshot(s) stand in a state that is not restorable: {words}.",
        since_at=min((row.created_at for row in odd if row.created_at), default=now),
        last_good_at=newest_at,
        next_step=f"flykeep snapshot {subject.label}; if that ends the same way, write to Fly's support",
    )

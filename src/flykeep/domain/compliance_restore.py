"""What is amiss with a target whose restore waits for somebody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from flykeep.domain.findings import Finding, FindingCode, Severity, Subject
from flykeep.domain.restore_phases import RestorePhase, RestoreRecord, next_step

DECIDE_WITHIN = timedelta(days=7)
"""How long a restore may wait for `finalize` or `undo`."""

_GRACE = timedelta(hours=1)


def restore_findings(
    subject: Subject, records: Sequence[RestoreRecord], *, is_at_work: bool, now: datetime
) -> list[Finding]:
    """One per restore that is not over and that nobody works on; `is_at_work` while a run does."""
    if is_at_work:
        return []
    found = (_finding(subject, record, now=now) for record in records)
    return [finding for finding in found if finding is not None]


def _finding(subject: Subject, record: RestoreRecord, *, now: datetime) -> Finding | None:
    if record.is_half_done:
        return _half_done(subject, record, now=now)
    if now - record.phase_at <= DECIDE_WITHIN:
        return None
    beginning = record.beginning
    kept = f"machine {beginning.machine_id} and volume {beginning.volume_id}" if beginning.machine_id else "the old one"
    return Finding(
        code=FindingCode.RESTORE_NOT_FINALIZED,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"Restore {record.run_id} still keeps {kept}; both cost money, and the old data grows stale.",
        since_at=record.phase_at + DECIDE_WITHIN,
        last_good_at=None,
        next_step=_step(record),
    )


def _half_done(subject: Subject, record: RestoreRecord, *, now: datetime) -> Finding | None:
    is_removing = record.phase in {RestorePhase.UNDONE, RestorePhase.FINALIZING}
    is_quiet = record.phase.is_before_switch or is_removing
    if is_quiet and now - record.phase_at <= _GRACE:
        return None
    untouched = record.phase.is_before_switch
    effect = "nothing of the application was touched" if untouched else "the application may be down"
    return Finding(
        code=FindingCode.RESTORE_NOT_FINALIZED if is_quiet else FindingCode.RESTORE_HALF_DONE,
        severity=Severity.WARNING if is_quiet else Severity.CRITICAL,
        subject=subject,
        summary=f"Restore {record.run_id} stopped half-way ({record.phase}): "
        f"{'what is not used any more is not removed yet' if is_removing else effect}.",
        since_at=record.phase_at,
        last_good_at=None,
        next_step=_step(record),
    )


def _step(record: RestoreRecord) -> str:
    return (next_step(record) or "").replace("`", "").rstrip(".")

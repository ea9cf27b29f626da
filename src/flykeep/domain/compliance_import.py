"""What is amiss with a target whose import waits for somebody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from flykeep.domain.findings import Finding, FindingCode, Severity, Subject
from flykeep.domain.imports import ImportPhase, ImportRecord

DECIDE_WITHIN = timedelta(days=7)
"""How long an import may wait for `confirm` or `undo`."""


def import_findings(
    subject: Subject, records: Sequence[ImportRecord], *, is_at_work: bool, now: datetime
) -> list[Finding]:
    """One per import that is not over and that nobody works on; `is_at_work` while a run does."""
    if is_at_work:
        return []
    half_done = [_half_done(subject, record) for record in records if record.is_half_done]
    waiting = [record for record in records if record.is_kept and now - record.phase_at > DECIDE_WITHIN]
    return half_done + [_waiting(subject, record) for record in waiting]


def _half_done(subject: Subject, record: ImportRecord) -> Finding:
    is_mixed = record.phase in {ImportPhase.MOVING, ImportPhase.UNDOING}
    effect = "some files are the new ones and some the old" if is_mixed else "what it left takes room on the volume"
    return Finding(
        code=FindingCode.IMPORT_HALF_DONE,
        severity=Severity.CRITICAL if is_mixed else Severity.WARNING,
        subject=subject,
        summary=f"Import {record.run_id} stopped half-way ({record.phase}): {effect}.",
        since_at=record.phase_at,
        last_good_at=None,
        next_step="flykeep reconcile --apply",
    )


def _waiting(subject: Subject, record: ImportRecord) -> Finding:
    kept = "replaced" if record.phase is ImportPhase.MOVED else "brought and its undo took back"
    ways = f"flykeep import confirm {record.run_id}"
    if record.phase is ImportPhase.MOVED:
        ways += f", or flykeep import undo {record.run_id}"
    return Finding(
        code=FindingCode.IMPORT_NOT_CONFIRMED,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"Import {record.run_id} still keeps what it {kept} on the volume, and in every export.",
        since_at=record.phase_at + DECIDE_WITHIN,
        last_good_at=None,
        next_step=ways,
    )

"""What a check knows of the work of retention."""

from __future__ import annotations

from datetime import datetime

from flykeep.domain.compliance_retention import RetentionFacts
from flykeep.domain.policy import JobKind, Schedule, TargetRule, is_retention_wanted
from flykeep.ports.catalog import Transaction

_RUNS = 50
_WAITING = "retention_waits_since"


async def retention_facts(
    tx: Transaction, rules: tuple[TargetRule, ...], schedule: Schedule | None, *, now: datetime
) -> RetentionFacts | None:
    """None where no copy has a keep rule."""
    if not is_retention_wanted(rules):
        return None
    runs = await tx.runs(kind=JobKind.PRUNE, is_open=False, limit=_RUNS)
    return RetentionFacts(schedule, tuple(runs), None if runs else await _waiting_since(tx, now))


async def _waiting_since(tx: Transaction, now: datetime) -> datetime | None:
    """The first check that met artifacts: those of a time before retention are not overdue on its first day."""
    known = await tx.note(_WAITING)
    if known is None and await tx.artifacts():
        known = now.isoformat()
        await tx.save_note(_WAITING, known)
    return datetime.fromisoformat(known) if known else None

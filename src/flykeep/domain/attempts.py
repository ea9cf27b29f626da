"""Trying a scheduled slot again: which failed or interrupted runs get another attempt, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from flykeep.domain.run import Run, RunState, Slot

_BACKOFF = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
"""Waits before the second, third and fourth attempt; after that the next slot is the next chance."""

_NOT_WORTH_REPEATING = ("usage.", "config.", "refused.", "internal.")


def plan_retry(slot_runs: Sequence[Run], *, now: datetime) -> tuple[Slot, datetime] | None:
    """The slot and due instant of the next attempt, or None.

    `slot_runs` are all runs of one kind and lineage for one scheduled slot. Interrupted and failed runs are tried
    again, unless the failure is one that repeating cannot mend; every attempt is a row of its own, so none is doubled.
    """
    if not slot_runs:
        return None
    newest = max(slot_runs, key=lambda run: run.slot.attempt)
    if newest.slot.scheduled_at is None or newest.slot.attempt > len(_BACKOFF) or newest.ended_at is None:
        return None
    if newest.state not in {RunState.INTERRUPTED, RunState.FAILED}:
        return None
    failure = newest.outcome.failure if newest.outcome else None
    if newest.state is RunState.FAILED and failure and failure.code.startswith(_NOT_WORTH_REPEATING):
        return None
    wait = timedelta(0) if newest.state is RunState.INTERRUPTED else _BACKOFF[newest.slot.attempt - 1]
    slot = Slot.scheduled(newest.slot.scheduled_at, attempt=newest.slot.attempt + 1)
    return slot, max(now, newest.ended_at + wait)

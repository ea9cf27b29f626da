"""Trying a scheduled slot again: which failed or interrupted runs get another attempt, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile

from flykeep.domain.run import Run, RunState, Slot

_BACKOFF = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
"""Waits after the first, second and third failure; after that the next slot is the next chance."""

_FREE_INTERRUPTIONS = 3
"""Interruptions in a row that are repeated at once; a run that kills its process each time must not do so in a loop."""

_NOT_WORTH_REPEATING = ("usage.", "config.", "refused.", "internal.", "integrity.drill")


def plan_retry(slot_runs: Sequence[Run], *, now: datetime) -> tuple[Slot, datetime] | None:
    """The slot and due instant of the next attempt, or None.

    `slot_runs` are all runs of one kind and lineage for one scheduled slot. A failed run is tried again three times,
    unless the failure is one that repeating cannot mend; an interrupted one until it ends by itself, for its process
    is to blame and not the slot. Every attempt is a row of its own, so none is doubled.
    """
    attempts = sorted(slot_runs, key=lambda run: run.slot.attempt)
    if not attempts:
        return None
    newest = attempts[-1]
    wait = _wait(attempts)
    if newest.slot.scheduled_at is None or newest.ended_at is None or wait is None:
        return None
    slot = Slot.scheduled(newest.slot.scheduled_at, attempt=newest.slot.attempt + 1)
    return slot, max(now, newest.ended_at + wait)


def _wait(attempts: Sequence[Run]) -> timedelta | None:
    """How long after the newest attempt's end the next one is due; None where there is none."""
    newest = attempts[-1]
    if newest.state is RunState.INTERRUPTED:
        in_a_row = sum(1 for _ in takewhile(lambda run: run.state is RunState.INTERRUPTED, reversed(attempts)))
        extra = in_a_row - _FREE_INTERRUPTIONS
        return _BACKOFF[min(extra, len(_BACKOFF)) - 1] if extra > 0 else timedelta(0)
    if newest.state is not RunState.FAILED:
        return None
    failure = newest.outcome.failure if newest.outcome else None
    if failure and failure.code.startswith(_NOT_WORTH_REPEATING):
        return None
    failures = sum(1 for run in attempts if run.state is RunState.FAILED)
    return _BACKOFF[failures - 1] if failures <= len(_BACKOFF) else None

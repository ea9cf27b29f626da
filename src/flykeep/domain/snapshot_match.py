"""Which row of a snapshot list is the one that was asked for, and how it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from flykeep.domain.fly import VolumeSnapshot
from flykeep.domain.ids import SnapshotId

# Fly publishes no failure values; these words can mean nothing else.
SNAPSHOT_FAILED = frozenset({"failed", "failure", "error", "errored"})

CLOCK_TOLERANCE = timedelta(minutes=2)
"""How far Fly's clock may be behind ours before a new snapshot is taken for an older one."""


class MatchState(StrEnum):
    DONE = "done"
    PENDING = "pending"
    FAILED = "failed"
    UNKNOWN_STATUS = "unknown_status"  # wait on, remember the word; at the deadline it names the failure


@dataclass(frozen=True, slots=True)
class SnapshotMatch:
    """How the requested snapshot stands. `snapshot` is the row it was read from, where there is one.

    `is_coalesced` says that another snapshot than the one asked for fulfils the slot.
    """

    state: MatchState
    snapshot: VolumeSnapshot | None = None
    is_coalesced: bool = False

    @property
    def status(self) -> str | None:
        """Fly's word for it, for the message about a failure or a deadline."""
        return self.snapshot.status if self.snapshot else None


def taken_since(listed: Sequence[VolumeSnapshot], slot_at: datetime) -> VolumeSnapshot | None:
    """The newest restorable snapshot created at or after `slot_at`: it fulfils the slot, whoever asked for it."""
    return max(
        (row for row in listed if row.is_restorable and _created_at_least(row, slot_at)), key=_instant, default=None
    )


def match_requested(
    before: Sequence[VolumeSnapshot],
    listed: Sequence[VolumeSnapshot],
    *,
    graph_id: SnapshotId | None,
    requested_at: datetime,
    slot_at: datetime,
) -> SnapshotMatch:
    """Judge the list read after a request made at `requested_at` for `slot_at`; `before` is the list read before it.

    The row named by `graph_id` decides. Where Fly gave no id or does not list it, a snapshot created since the slot
    counts, then any row that was not there before.
    """
    named = next((row for row in listed if graph_id is not None and row.id == graph_id), None)
    known_ids = {row.id for row in before if row.is_restorable}
    if named is not None and named.is_restorable and named.id not in known_ids:
        return SnapshotMatch(MatchState.DONE, named)
    if named is not None and _state_of(named) in {MatchState.PENDING, MatchState.UNKNOWN_STATUS}:
        return SnapshotMatch(_state_of(named), named)
    coalesced = taken_since(listed, slot_at)
    if coalesced is not None:
        return SnapshotMatch(MatchState.DONE, coalesced, is_coalesced=True)
    if named is not None and not named.is_restorable:
        return SnapshotMatch(MatchState.FAILED, named)
    return _match_new(before, listed, since_at=min(slot_at, requested_at) - CLOCK_TOLERANCE)


def _match_new(
    before: Sequence[VolumeSnapshot], listed: Sequence[VolumeSnapshot], *, since_at: datetime
) -> SnapshotMatch:
    """The fallback: the best of the rows that were not there before."""
    seen = {(row.id, row.status) for row in before}
    new = [
        row
        for row in listed
        if (row.id, row.status) not in seen and (row.created_at is None or _created_at_least(row, since_at))
    ]
    for state in (MatchState.DONE, MatchState.PENDING, MatchState.UNKNOWN_STATUS, MatchState.FAILED):
        rows = [row for row in new if _state_of(row) is state]
        if rows:
            return SnapshotMatch(state, max(rows, key=_instant))
    return SnapshotMatch(MatchState.PENDING)


def _state_of(row: VolumeSnapshot) -> MatchState:
    if row.is_restorable:
        return MatchState.DONE
    if row.is_pending:
        return MatchState.PENDING
    return MatchState.FAILED if row.status in SNAPSHOT_FAILED else MatchState.UNKNOWN_STATUS


def _created_at_least(row: VolumeSnapshot, at: datetime) -> bool:
    return row.created_at is not None and row.created_at >= at


def _instant(row: VolumeSnapshot) -> float:
    return row.created_at.timestamp() if row.created_at else 0.0

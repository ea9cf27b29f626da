"""Which listed snapshot answers a request."""

from datetime import timedelta

import pytest

from flykeep.domain.fly import SNAPSHOT_PENDING, VolumeSnapshot
from flykeep.domain.ids import SnapshotId
from flykeep.domain.snapshot_match import SNAPSHOT_FAILED, MatchState, SnapshotMatch, match_requested, taken_since
from tests.unit.domain.builders import DAY, HOUR, NOW, snapshot

OLD = snapshot("vs_old", age=DAY)
NEW_AGE = -timedelta(minutes=1)  # a minute after the request
GRAPH = SnapshotId("vs_new")


def match(
    *listed: VolumeSnapshot, graph_id: SnapshotId | None = GRAPH, before: tuple[VolumeSnapshot, ...] = (OLD,)
) -> SnapshotMatch:
    return match_requested(before, listed, graph_id=graph_id, requested_at=NOW, slot_at=NOW - timedelta(minutes=5))


def test_the_named_snapshot_is_done_once_it_is_created() -> None:
    new = snapshot("vs_new", age=NEW_AGE)
    assert match(OLD, new) == SnapshotMatch(MatchState.DONE, new)


@pytest.mark.parametrize("status", sorted(SNAPSHOT_PENDING))
def test_the_named_snapshot_is_waited_for_while_it_is_pending(status: str) -> None:
    row = snapshot("vs_new", age=None, status=status)
    assert match(row, OLD) == SnapshotMatch(MatchState.PENDING, row)


def test_another_new_snapshot_does_not_end_the_wait_for_the_named_one() -> None:
    row = snapshot("vs_new", age=None, status="running")
    assert match(row, snapshot("vs_other", age=NEW_AGE)).state is MatchState.PENDING


def test_an_unknown_status_is_neither_done_nor_failed_and_keeps_its_word() -> None:
    found = match(snapshot("vs_new", age=None, status="defrosting"))
    assert (found.state, found.status) == (MatchState.UNKNOWN_STATUS, "defrosting")


@pytest.mark.parametrize("status", sorted(SNAPSHOT_FAILED))
def test_a_failed_snapshot_is_a_failure_that_names_its_status(status: str) -> None:
    found = match(OLD, snapshot("vs_new", age=NEW_AGE, status=status))
    assert (found.state, found.status) == (MatchState.FAILED, status)


def test_a_failed_snapshot_does_not_matter_where_another_one_fulfils_the_slot() -> None:
    other = snapshot("vs_other", age=timedelta(minutes=4))
    found = match(snapshot("vs_new", age=NEW_AGE, status="failed"), other)
    assert found == SnapshotMatch(MatchState.DONE, other, is_coalesced=True)


def test_a_snapshot_created_since_the_slot_counts_where_the_named_one_is_not_listed() -> None:
    other = snapshot("vs_auto", age=timedelta(minutes=5))
    assert match(OLD, other) == SnapshotMatch(MatchState.DONE, other, is_coalesced=True)


def test_a_snapshot_from_before_the_slot_does_not_count() -> None:
    assert match(OLD, graph_id=None) == SnapshotMatch(MatchState.PENDING)


def test_being_named_an_old_snapshot_does_not_make_it_new() -> None:
    assert match(OLD, graph_id=SnapshotId("vs_old")) == SnapshotMatch(MatchState.PENDING)


def test_an_old_snapshot_that_finished_only_now_is_done_when_it_is_the_named_one() -> None:
    was = snapshot("vs_new", age=HOUR, status="running")
    done = snapshot("vs_new", age=HOUR)
    assert match(done, before=(was,)) == SnapshotMatch(MatchState.DONE, done)


def test_without_a_name_a_new_row_is_followed_until_it_is_done() -> None:
    assert match(OLD, graph_id=None).status is None
    assert match(OLD, snapshot(None, age=None, status="waiting"), graph_id=None).state is MatchState.PENDING
    slow_clock = snapshot("vs_x", age=timedelta(minutes=6))
    assert match(OLD, slow_clock, graph_id=None) == SnapshotMatch(MatchState.DONE, slow_clock)


def test_without_a_name_a_row_from_long_before_the_request_is_not_taken_for_it() -> None:
    late = snapshot("vs_late", age=HOUR)
    assert match(OLD, late, graph_id=None).state is MatchState.PENDING


@pytest.mark.parametrize(("status", "state"), [("failed", MatchState.FAILED), ("odd", MatchState.UNKNOWN_STATUS)])
def test_without_a_name_a_new_row_that_goes_wrong_is_told(status: str, state: MatchState) -> None:
    found = match(OLD, snapshot("vs_x", age=NEW_AGE, status=status), graph_id=None)
    assert (found.state, found.status) == (state, status)


def test_rows_that_were_odd_before_the_request_are_not_blamed_on_it() -> None:
    failed = snapshot("vs_bad", age=None, status="failed")
    assert match(failed, graph_id=None, before=(failed,)) == SnapshotMatch(MatchState.PENDING)


def test_the_newest_snapshot_since_the_slot_is_the_one_that_fulfils_it() -> None:
    rows = (snapshot("a", age=3 * HOUR), snapshot("b", age=HOUR), snapshot("c", age=None, status="running"))
    assert taken_since(rows, NOW - 2 * HOUR) == rows[1]
    assert taken_since(rows, NOW) is None

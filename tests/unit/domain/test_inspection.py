"""What a restore would do with each path of a live volume."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.artifact import EntryType
from flykeep.domain.inspection import Change, Difference, DiffTally, SideFacts, judge_pair

FILE = SideFacts(EntryType.FILE, 5, 100)
LINK = SideFacts(EntryType.SYMLINK, 0, 100, b"there")


@pytest.mark.parametrize(
    ("indexed", "live", "change"),
    [
        (FILE, FILE, Change.EQUAL),
        (FILE, replace(FILE, size_bytes=6), Change.OVERWRITTEN),
        (FILE, replace(FILE, mtime_s=101), None),
        (FILE, replace(FILE, type=EntryType.DIRECTORY), Change.OVERWRITTEN),
        (LINK, replace(LINK, mtime_s=7), Change.EQUAL),
        (LINK, replace(LINK, link_target=b"there\n"), Change.EQUAL),
        (LINK, replace(LINK, link_target=b"here"), Change.OVERWRITTEN),
        (LINK, replace(LINK, link_target=None), Change.OVERWRITTEN),
    ],
)
def test_size_and_date_decide_and_contents_only_where_the_date_alone_differs(
    indexed: SideFacts, live: SideFacts, change: Change | None
) -> None:
    assert judge_pair(indexed=indexed, live=live, is_digesting=False).change is change


def test_where_contents_are_asked_for_only_they_make_files_equal() -> None:
    assert judge_pair(indexed=FILE, live=FILE, is_digesting=True).change is None
    other = replace(FILE, size_bytes=6)
    assert judge_pair(indexed=FILE, live=other, is_digesting=True).change is Change.OVERWRITTEN


SIZES = st.none() | st.integers(0, 10)
DIFFERENCES = st.builds(Difference, st.text(max_size=3), st.sampled_from(Change), st.just("why"), SIZES, SIZES)


@given(st.lists(DIFFERENCES, max_size=30), st.integers(0, 4))
def test_everything_is_counted_and_so_many_of_each_kind_are_named(differences: list[Difference], limit: int) -> None:
    tally = DiffTally(limit)
    for one in differences:
        tally.add(one)
    diff = tally.diff()
    totals = {
        Change.EQUAL: diff.equal,
        Change.BROUGHT_BACK: diff.brought_back,
        Change.OVERWRITTEN: diff.overwritten,
        Change.LOST: diff.lost,
        Change.OUTSIDE: diff.outside,
    }
    named = 0
    for change, total in totals.items():
        mine = [one for one in differences if one.change is change]
        sizes = [one.artifact_bytes if change is Change.BROUGHT_BACK else one.live_bytes for one in mine]
        assert (total.entries, total.content_bytes) == (len(mine), sum(size or 0 for size in sizes))
        shown = [one for one in diff.names if one.change is change]
        assert len(shown) == (0 if change is Change.EQUAL else min(limit, len(mine)))
        named += len(shown)
    assert diff.is_cut == (named < sum(one.change is not Change.EQUAL for one in differences))
    assert diff.is_same == all(one.change is Change.EQUAL for one in differences)


def test_what_was_hashed_and_what_was_judged_by_date_is_counted() -> None:
    tally = DiffTally(1)
    tally.digested()
    tally.undigested()
    tally.undigested()
    assert (tally.diff().digests, tally.diff().by_date) == (1, 2)

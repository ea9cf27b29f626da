"""The two chains agree: what was not touched since before both is the same in both, and nothing else is demanded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.agreement import (
    FIRST_NAMES,
    TOLERANCE,
    EntryFacts,
    Gap,
    Judged,
    Standing,
    Tally,
    gap_between,
    judge_both,
    judge_missing,
    judge_unindexed,
)
from flykeep.domain.artifact import EntryType

BEGINS = 1000
LATER = Gap(BEGINS, is_tree_later=True)
EARLIER = Gap(BEGINS, is_tree_later=False)
EXACT = Gap(BEGINS, is_tree_later=True, is_exact=True)
FILE = EntryFacts(EntryType.FILE, 5, 10, 10)
NEW = replace(FILE, mtime_s=BEGINS, changed_s=BEGINS)
FOLDER = EntryFacts(EntryType.DIRECTORY, 0, 10, 10)
OLD_S, NEW_S = BEGINS - 1, BEGINS


def test_the_gap_begins_a_little_before_the_earlier_backup() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    later = gap_between(tree_at=at + timedelta(days=1), artifact_at=at)
    assert (later.begins_s, later.is_tree_later) == ((at - TOLERANCE).timestamp(), True)
    assert not gap_between(tree_at=at - timedelta(days=1), artifact_at=at).is_tree_later


@pytest.mark.parametrize("gap", [LATER, EARLIER, EXACT])
def test_an_untouched_file_is_read(gap: Gap) -> None:
    assert judge_both(gap, indexed=FILE, found=FILE, above_s=OLD_S).standing is Standing.READ


@pytest.mark.parametrize(
    ("gap", "indexed", "found", "standing"),
    [
        (LATER, FILE, replace(NEW, size_bytes=6), Standing.CHANGED),
        (EARLIER, replace(NEW, size_bytes=6), FILE, Standing.CHANGED),
        (EARLIER, FILE, replace(NEW, size_bytes=6), Standing.CONTRADICTION),  # a snapshot holds what came after it
        (EXACT, FILE, replace(NEW, size_bytes=6), Standing.CONTRADICTION),
        (LATER, FILE, replace(FILE, size_bytes=6), Standing.CONTRADICTION),
    ],
)
def test_only_the_later_backup_may_be_newer(
    gap: Gap, indexed: EntryFacts, found: EntryFacts, standing: Standing
) -> None:
    assert judge_both(gap, indexed=indexed, found=found, above_s=OLD_S).standing is standing


@pytest.mark.parametrize(
    ("above_s", "standing"),
    [(OLD_S, Standing.CONTRADICTION), (NEW_S, Standing.CHANGED), (None, Standing.CHANGED)],
)
def test_an_older_file_moved_into_place_shows_in_the_directories_above(above_s: int | None, standing: Standing) -> None:
    rotated = replace(FILE, mtime_s=11, changed_s=11, size_bytes=6)
    assert judge_both(LATER, indexed=FILE, found=rotated, above_s=above_s).standing is standing


def test_the_same_date_and_another_size_contradict_wherever_it_is() -> None:
    assert judge_both(LATER, indexed=FILE, found=replace(FILE, size_bytes=6), above_s=NEW_S).why == (
        "has 6 bytes, and 5 in the artifact"
    )


@pytest.mark.parametrize(
    ("indexed", "found", "standing"),
    [
        (FOLDER, FOLDER, Standing.EQUAL),
        (FOLDER, FILE, Standing.CONTRADICTION),
        (replace(FILE, type=EntryType.HARDLINK, size_bytes=0), FILE, Standing.EQUAL),
        (replace(FILE, type=EntryType.FIFO), replace(FILE, type=EntryType.FIFO), Standing.EQUAL),
        (
            replace(FILE, type=EntryType.SYMLINK, link_target=b"a"),
            replace(FILE, type=EntryType.SYMLINK, link_target=b"a"),
            Standing.EQUAL,
        ),
        (
            replace(FILE, type=EntryType.SYMLINK, link_target=b"a"),
            replace(FILE, type=EntryType.SYMLINK, link_target=b"b"),
            Standing.CONTRADICTION,
        ),
    ],
)
def test_every_kind_of_entry_is_compared(indexed: EntryFacts, found: EntryFacts, standing: Standing) -> None:
    assert judge_both(LATER, indexed=indexed, found=found, above_s=OLD_S).standing is standing


@pytest.mark.parametrize(
    ("gap", "changed_s", "above_s", "unindexed", "missing"),
    [
        (LATER, OLD_S, OLD_S, Standing.CONTRADICTION, Standing.CONTRADICTION),
        (LATER, OLD_S, NEW_S, Standing.ADDED, Standing.GONE),
        (LATER, OLD_S, None, Standing.ADDED, Standing.GONE),
        (LATER, NEW_S, OLD_S, Standing.ADDED, Standing.CONTRADICTION),
        (EARLIER, OLD_S, OLD_S, Standing.CONTRADICTION, Standing.CONTRADICTION),
        (EARLIER, OLD_S, NEW_S, Standing.GONE, Standing.ADDED),
        (EARLIER, NEW_S, OLD_S, Standing.CONTRADICTION, Standing.ADDED),
        (EXACT, NEW_S, NEW_S, Standing.CONTRADICTION, Standing.CONTRADICTION),
        (EXACT, NEW_S, None, Standing.CONTRADICTION, Standing.CONTRADICTION),
    ],
)
def test_a_name_comes_or_goes_with_a_trace_only(
    gap: Gap, changed_s: int, above_s: int | None, unindexed: Standing, missing: Standing
) -> None:
    entry = replace(FILE, changed_s=changed_s)
    assert judge_unindexed(gap, found=entry, above_s=above_s).standing is unindexed
    assert judge_missing(gap, indexed=entry, above_s=above_s).standing is missing


@given(st.lists(st.sampled_from(Standing)))
def test_a_tally_counts_every_standing_and_names_some_contradictions(standings: list[Standing]) -> None:
    tally = Tally()
    for at, standing in enumerate(standings):
        tally.add(str(at), Judged(standing, "why"))
    found = tally.comparison()
    assert found.contradictions == standings.count(Standing.CONTRADICTION)
    assert found.equal == standings.count(Standing.EQUAL)
    assert len(found.first) == min(found.contradictions, FIRST_NAMES)
    assert found.is_agreed == (Standing.CONTRADICTION not in standings)

"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.settings.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("26h", 93_600), ("8d", 691_200), ("20s", 20), ("90m", 5_400), ("1h30m", 5_400), ("2w", 1_209_600), ("0s", 0)],
)
def test_a_duration_is_the_sum_of_its_units(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", " ", "26", "h", "-1h", "1.5h", "8 days", "30m1h", "1h 30m", "99999d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=3600 * 86_400))
def test_a_formatted_duration_reads_back_as_itself(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


def test_ages_of_a_day_or_two_are_told_in_hours() -> None:
    assert [format_duration(timedelta(hours=hours)) for hours in (7, 26, 72, 192)] == ["7h", "26h", "3d", "8d"]

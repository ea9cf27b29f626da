"""Arguments before they are parsed, and words and tables for people."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from flykeep.cli.context import hoist
from flykeep.cli.render import age_text, bytes_text, duration_text, print_indented, print_table
from flykeep.cli.spans import typed_span
from flykeep.domain.errors import UsageError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROWS = (("01M824PZDXBKVS02ZZA559NMR9", "my-crocbot/crocbot_data", "complete"), ("01M8", "wiki/wiki_data", "degraded"))


def drawn(width: int, *, is_terminal: bool = True) -> list[str]:
    out = Console(file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None)
    print_table(out, "artifact", "target", "outcome", rows=ROWS)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        (["status", "--json"], ["--json", "status"]),
        (["export", "a/b", "-v", "--config", "c.toml"], ["--verbose", "--config", "c.toml", "export", "a/b"]),
        (["status", "--config=c.toml"], ["--config=c.toml", "status"]),
        (["export", "--", "--json"], ["export", "--", "--json"]),
        (["status", "--config"], ["--config"]),
    ],
    ids=" ".join,
)
def test_common_options_come_first_wherever_they_stood(typed: list[str], parsed: list[str]) -> None:
    assert hoist(typed) == parsed


@given(st.lists(st.sampled_from(["--json", "-v", "export", "a/b", "--reason", "text"])))
def test_no_word_is_lost_or_invented(words: list[str]) -> None:
    assert sorted(hoist(words)) == sorted("--verbose" if word == "-v" else word for word in words)


def test_a_table_that_fits_is_aligned() -> None:
    head, first, second = drawn(80)

    assert head.index("target") == first.index("my-crocbot") == second.index("wiki")


@pytest.mark.parametrize("width", [20, 40, 59])
def test_a_table_that_does_not_fit_becomes_blocks_and_breaks_no_id(width: int) -> None:
    text = "\n".join(drawn(width))

    assert all(cell in text for row in ROWS for cell in row)
    assert text.count("artifact  ") == len(ROWS)


def test_a_table_in_a_pipe_is_never_broken() -> None:
    assert len(drawn(20, is_terminal=False)) == 1 + len(ROWS)


def test_indented_text_keeps_its_indentation_where_it_wraps() -> None:
    out = Console(file=io.StringIO(), width=20, force_terminal=True, color_system=None)
    print_indented(out, "one two three four five six", by=4)
    assert isinstance(out.file, io.StringIO)

    lines = out.file.getvalue().splitlines()
    assert len(lines) > 1
    assert all(line.startswith("    ") for line in lines)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=252), "4 min 12 s"),
        (timedelta(days=3, hours=4, minutes=9), "3 d 4 h"),
        (timedelta(days=60, seconds=25), "60 d"),
        (timedelta(hours=4, seconds=6), "4 h"),
    ],
    ids=str,
)
def test_durations_are_told_in_their_two_largest_units(duration: timedelta, text: str) -> None:
    assert duration_text(duration) == text


def test_ages_look_back_and_ahead() -> None:
    assert age_text(NOW - timedelta(hours=6), now=NOW) == "6 h ago"
    assert age_text(NOW + timedelta(hours=6), now=NOW) == "in 6 h"
    assert age_text(None, now=NOW) == "never"


@given(st.integers(min_value=0, max_value=1 << 60))
def test_sizes_are_short(size: int) -> None:
    assert len(bytes_text(size)) <= len("1048576 TiB")


@pytest.mark.parametrize("text", ["", "soon", "8", "0s"], ids=str)
def test_what_is_no_span_of_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        typed_span(text)

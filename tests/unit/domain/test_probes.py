"""What a probe's answer means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.probes import (
    CommandProbe,
    CountProbe,
    ExistsProbe,
    JsonProbe,
    NewerThanProbe,
    RowFloor,
    Sha256Probe,
    digest_flaw,
    judge_command,
    judge_count,
    judge_exists,
    judge_files,
    judge_newest,
    label,
    sqlite_flaw,
)


def test_a_command_is_named_without_its_arguments() -> None:
    assert label(CommandProbe(("check", "--password=x"), 1.0)) == "command check"
    assert label(JsonProbe("a.json")) == "json a.json"


@pytest.mark.parametrize(("found", "is_passed"), [(0, False), (1, True)])
def test_something_must_be_there(found: int, *, is_passed: bool) -> None:
    assert judge_exists(ExistsProbe("a"), found=found).is_passed == is_passed


@pytest.mark.parametrize(
    ("flaws", "is_passed", "detail"),
    [
        ({}, False, "no such file"),
        ({"a": None}, True, "1 file"),
        ({"a": None, "b": None}, True, "2 files"),
        ({"a": "is bad", "b": None}, False, "a is bad"),
        (dict.fromkeys("abcde", "is bad"), False, "a is bad; b is bad; c is bad and 2 more"),
    ],
)
def test_every_file_must_be_without_a_flaw(flaws: dict[str, str | None], detail: str, *, is_passed: bool) -> None:
    outcome = judge_files(JsonProbe("*"), flaws)
    assert (outcome.is_passed, outcome.detail) == (is_passed, detail)


@given(st.integers(0, 9), st.integers(0, 9))
def test_so_many_files_are_enough(files: int, floor: int) -> None:
    assert judge_count(CountProbe("a", floor), files=files).is_passed == (files >= floor)


@pytest.mark.parametrize(("newest_s", "is_passed"), [(None, False), (40.0, True), (39.9, False), (101.0, True)])
def test_the_newest_file_is_judged_as_of_the_backup(newest_s: float | None, *, is_passed: bool) -> None:
    assert judge_newest(NewerThanProbe("a", 60.0), newest_s=newest_s, as_of_s=100.0).is_passed == is_passed


@pytest.mark.parametrize(
    ("exit_code", "trouble", "is_passed"),
    [(0, None, True), (1, None, False), (None, None, False), (None, "could not be started", False)],
)
def test_a_command_must_end_well_and_in_time(exit_code: int | None, trouble: str | None, *, is_passed: bool) -> None:
    assert judge_command(CommandProbe(("x",), 1.0), exit_code=exit_code, trouble=trouble).is_passed == is_passed


@pytest.mark.parametrize(
    ("messages", "rows", "flaw"),
    [
        (["ok"], {"users": 3}, None),
        (["ok"], {"users": 2}, "has 2 rows in users, at least 3 wanted"),
        (["ok"], {"users": None}, "has no readable table users"),
        (["row 1 missing"], {"users": 3}, "is damaged: row 1 missing"),
        ([], {"users": 3}, "is damaged: SQLite gave no answer"),
    ],
)
def test_a_database_must_be_whole_and_full(messages: list[str], rows: dict[str, int | None], flaw: str | None) -> None:
    assert sqlite_flaw(messages, rows, (RowFloor("users", 3),)) == flaw


def test_a_digest_is_compared_whatever_its_case() -> None:
    probe = Sha256Probe("a", "AB" * 32)
    assert digest_flaw(probe, "ab" * 32) is None
    assert digest_flaw(probe, "cd" * 32) == f"has other content, sha256 {'cd' * 32}"

"""Globs of include and exclude."""

from __future__ import annotations

import pytest

from flykeep.domain.errors import ConfigError
from flykeep.worker.selection import Pattern, Selection, topmost


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("crocbot.json", [b"crocbot.json"], [b"a/crocbot.json", b"crocbot_json"]),
        ("*.json", [b"a.json", b".json"], [b"a/b.json"]),
        ("**/*.json", [b"a.json", b"a/b/c.json"], [b"a.jsonl"]),
        ("a/**/z", [b"a/z", b"a/b/z", b"a/b/c/z"], [b"az", b"a/b/zz"]),
        ("a/**", [b"a/b", b"a/b/c"], [b"a", b"ab"]),
        ("a?c", [b"abc", b"a\nc"], [b"a/c", b"ac"]),
        ("[ab]x", [b"ax", b"bx"], [b"cx"]),
        ("[!ab]x", [b"cx"], [b"ax"]),
        ("a[x", [b"a[x"], [b"ax"]),
        ("a.b(c)+", [b"a.b(c)+"], [b"aXb(c)+"]),
        ("/./a//b/", [b"a/b"], [b"a"]),
        ("\udcff*", [b"\xff", b"\xffx"], [b"x"]),
    ],
)
def test_a_glob_matches_within_components_and_double_stars_across_them(
    pattern: str, matching: list[bytes], others: list[bytes]
) -> None:
    regex = Pattern.of(pattern).regex
    assert [path for path in (*matching, *others) if regex.fullmatch(path)] == matching


@pytest.mark.parametrize("pattern", ["", "/", ".", "../x", "a/../../b", "a\0b"])
def test_a_pattern_that_leaves_the_volume_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError):
        Pattern.of(pattern)


def test_includes_resolve_to_the_topmost_paths_they_match() -> None:
    selection = Selection.of(["agents/**", "agents/a/x", "*.json"], [])
    listing = [b"agents", b"agents/a", b"agents/a/x", b"b.json", b"other"]
    assert selection.resolve(listing) == (b"agents", b"b.json")


def test_includes_that_match_nothing_are_named() -> None:
    selection = Selection.of(["here", "gone/**", "*.nothing"], [])
    with pytest.raises(ConfigError, match=r"\*\.nothing, gone$"):
        selection.resolve([b"here"])


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        ("logs/**", ("--anchored", "--exclude=./logs/*")),
        ("logs", ("--anchored", "--exclude=./logs")),
        ("**/cache", ("--no-anchored", "--exclude=cache")),
        ("a/**/b", None),
    ],
)
def test_gnu_tar_is_told_what_it_can_be_told(pattern: str, options: tuple[str, ...] | None) -> None:
    assert Pattern.of(pattern).gnu_exclude() == options


def test_more_paths_than_a_command_line_holds_are_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="separate paths"):
        topmost(b"%07d" % number for number in range(60_000))

"""The line of each key of a TOML file."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flykeep.settings.toml_lines import Path, key_lines

TEXT = '''\
# a comment with [brackets] and key = "value"
title = "a # that is no comment" # one that is

[fly]
org = 'single \\ quoted' # 5
"quoted key".inner = 1979-05-27 07:32:00

[[targets]]
match = """
two
lines = "not a key"
""""
hooks.before = { run = ["a,b", "c]"], timeout = "20s" } # 13
probes = [ # 14
  { kind = "json" },
  # between
  { kind = "count", deep = [[1,
    2], []] }, # 17 and 18
]

  [targets.extra]
  x = 1 # 22

[[targets]]
match = "second"
[targets.extra]
x = 2 # 27
[a.b.c]
d = {} # 29
"\\u00e9\\t" = true # 30
'''


def test_every_kind_of_key_is_found_on_its_line() -> None:
    tomllib.loads(TEXT)
    lines = key_lines(TEXT)
    expected: dict[Path, int] = {
        ("title",): 2,
        ("fly",): 4,
        ("fly", "org"): 5,
        ("fly", "quoted key", "inner"): 6,
        ("targets",): 8,
        ("targets", 0): 8,
        ("targets", 0, "match"): 9,
        ("targets", 0, "hooks", "before", "run", 1): 13,
        ("targets", 0, "hooks", "before", "timeout"): 13,
        ("targets", 0, "probes"): 14,
        ("targets", 0, "probes", 0, "kind"): 15,
        ("targets", 0, "probes", 1, "kind"): 17,
        ("targets", 0, "probes", 1, "deep"): 17,
        ("targets", 0, "probes", 1, "deep", 0, 1): 18,
        ("targets", 0, "extra", "x"): 22,
        ("targets", 1): 24,
        ("targets", 1, "match"): 25,
        ("targets", 1, "extra", "x"): 27,
        ("a", "b"): 28,
        ("a", "b", "c", "d"): 29,
        ("a", "b", "c", "é\t"): 30,
    }
    assert {path: lines.get(path) for path in expected} == expected


def test_windows_line_ends_count_once() -> None:
    assert key_lines("a = 1\r\nb = 2\r\n") == {("a",): 1, ("b",): 2}


_scalars = st.one_of(st.integers(), st.booleans(), st.text(alphabet="ab \"'\\#[]{}=,.\n", max_size=8))
_keys = st.text(alphabet='abc-_ ."#[]=', min_size=1, max_size=5)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(_keys, _values, max_size=4), st.booleans())
def test_every_key_a_parser_sees_has_a_line(document: dict[str, Any], is_in_tables: bool) -> None:
    text = "".join(_written(key, value, is_in_tables=is_in_tables) for key, value in document.items())
    if is_in_tables:
        scalars = {key: value for key, value in document.items() if not isinstance(value, dict)}
        tables = {key: value for key, value in document.items() if isinstance(value, dict)}
        text = "".join(_written(key, value, is_in_tables=True) for key, value in {**scalars, **tables}.items())
    parsed = tomllib.loads(text)
    assert parsed == document
    assert set(_paths(parsed, ())) == set(key_lines(text))


def _written(key: str, value: Any, *, is_in_tables: bool) -> str:
    if is_in_tables and isinstance(value, dict):
        return f"[{_text(key)}]\n" + "".join(f"{_text(name)} = {_inline(inner)}\n" for name, inner in value.items())
    return f"{_text(key)} = {_inline(value)} # x = 1\n"


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return "[\n" + "".join(f"{_inline(member)}, # ]\n" for member in value) + "]"
    return "{" + ", ".join(f"{_text(name)} = {_inline(inner)}" for name, inner in value.items()) + "}"


def _text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _paths(value: Any, path: Path) -> list[Path]:
    members: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    for key, inner in members:
        found += _paths(inner, (*path, key))
    return found

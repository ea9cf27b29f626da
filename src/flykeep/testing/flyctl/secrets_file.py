"""The format that `fly secrets import` reads."""

from __future__ import annotations

from collections.abc import Iterator

from flykeep.testing.flyctl.arguments import UsageError

_LONG = '"""'


def parsed_secrets(text: str) -> dict[str, str]:
    """NAME=VALUE a line; comments and quotes are taken off, but not between triple quotes, which may span lines."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        name, has_value, value = line.partition("=")
        if not has_value:
            raise UsageError("Secrets must be provided as NAME=VALUE pairs")
        found[name] = _long(value.removeprefix(_LONG), lines) if value.startswith(_LONG) else _short(value)
    return found


def _short(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value.partition(" #")[0].rstrip()


def _long(first: str, lines: Iterator[str]) -> str:
    parts = [first]
    while not parts[-1].endswith(_LONG):
        following = next(lines, None)
        if following is None:
            raise UsageError("a value between triple quotes does not end")
        parts.append(following)
    return "\n".join(parts).removesuffix(_LONG)

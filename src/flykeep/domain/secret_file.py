"""Reads secrets from a file a person keeps: lines of NAME=value, or TOML. No error ever holds a value."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

from flykeep.domain.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<rest>.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_HINT = "Write NAME=value lines, values with spaces or # in quotes; or TOML with text values, in a file named *.toml."


def parse_secrets(text: str, *, is_toml: bool) -> Mapping[str, str]:
    """Names and values. Raises UsageError naming the line or the name that is wrong."""
    return _toml(text) if is_toml else _dotenv(text)


def _toml(text: str) -> dict[str, str]:
    """A table of texts, or one table `secrets` of them."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
        raise _wrong(f"is not TOML, {where.group(1) if where else 'somewhere'}") from None
    inner = document.get("secrets")
    table = inner if isinstance(inner, dict) else document
    for name, value in table.items():
        if not _NAME.fullmatch(name):
            raise _wrong("has a name that Fly takes for no secret")
        if not isinstance(value, str):
            raise _wrong(f"gives {name} a value that is not text")
    return dict(table)


def _dotenv(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    lines = text.replace("\r\n", "\n").split("\n")
    number = 0
    while number < len(lines):
        first = number + 1
        line = lines[number]
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise _wrong(f"has no NAME=value in line {first}")
        rest = match["rest"]
        while (value := _value(rest)) is None:  # a quote that is still open: the value goes on in the next line
            if number >= len(lines):
                raise _wrong(f"opens a quote in line {first} and never closes it")
            rest += "\n" + lines[number]
            number += 1
        if value is _TRAILING:
            raise _wrong(f"has something after the closing quote in line {first}")
        if match["name"] in found:
            raise _wrong(f"names {match['name']} twice")
        found[match["name"]] = str(value)
    return found


_TRAILING = object()


def _value(rest: str) -> object:
    """The value that `rest` begins with; None where its quote is open, _TRAILING where more than a comment follows."""
    quote = rest[:1]
    if quote not in {"'", '"'}:
        return re.split(r"\s#", rest, maxsplit=1)[0].strip()
    closed = re.match(r"'([^']*)'(.*)" if quote == "'" else r'"((?:[^"\\]|\\.)*)"(.*)', rest, re.DOTALL)
    if closed is None:
        return None
    after = closed[2].strip()
    if after and not after.startswith("#"):
        return _TRAILING
    return closed[1] if quote == "'" else _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), closed[1])


def _wrong(what: str) -> UsageError:
    return UsageError(f"the file of secrets {what}", hint=_HINT)

"""Durations as Go shows them: requests write texts, read-back configurations hold nanoseconds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flykeep.testing.flysim.model import JsonObject, Refusal

_TEXT = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_OF_CHECKS = ("interval", "timeout", "grace_period")


def store(config: JsonObject) -> None:
    """Turn the durations of a new configuration into nanoseconds, in place."""
    for place, name in places(config):
        value = place.get(name)
        if isinstance(value, str):
            place[name] = _nanoseconds(value)


def places(config: JsonObject) -> Iterator[tuple[JsonObject, str]]:
    """Every field of a configuration that may hold a duration, with the object it stands in."""
    yield config.get("stop_config") or {}, "timeout"
    checks = list((config.get("checks") or {}).values())
    for service in config.get("services") or []:
        checks += service.get("checks") or []
    for check in checks:
        yield from ((check, name) for name in _OF_CHECKS)


def _nanoseconds(text: str) -> int:
    if not _TEXT.fullmatch(text):
        raise Refusal(400, f"invalid_argument: time: invalid duration {text!r}")
    return round(sum(float(number) * _NANOSECONDS[unit] for number, unit in _PART.findall(text)))

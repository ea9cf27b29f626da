"""Durations as Go shows them: requests write texts, read-back configurations hold nanoseconds."""

from __future__ import annotations

import re

from flykeep.testing.flysim.model import JsonObject, Refusal

_TEXT = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_OF_CHECKS = ("interval", "timeout", "grace_period")


def store(config: JsonObject) -> None:
    """Turn the durations of a new configuration into nanoseconds, in place."""
    _turn(config.get("stop_config") or {}, ("timeout",))
    for check in (config.get("checks") or {}).values():
        _turn(check, _OF_CHECKS)
    for service in config.get("services") or []:
        for check in service.get("checks") or []:
            _turn(check, _OF_CHECKS)


def _turn(place: JsonObject, names: tuple[str, ...]) -> None:
    for name in names:
        value = place.get(name)
        if isinstance(value, str):
            place[name] = _nanoseconds(value)


def _nanoseconds(text: str) -> int:
    if not _TEXT.fullmatch(text):
        raise Refusal(400, f"invalid_argument: time: invalid duration {text!r}")
    return round(sum(float(number) * _NANOSECONDS[unit] for number, unit in _PART.findall(text)))

"""A machine's configuration as Fly shows it, made into one that Fly takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

_CHECK_DURATIONS: Final = ("interval", "timeout", "grace_period")
_UNITS: Final = ((1_000_000_000, "s"), (1_000_000, "ms"), (1, "ns"))


def sendable(config_json: str) -> dict[str, Any]:
    """The configuration with nothing changed but how it writes durations.

    Fly shows them as nanoseconds and its description of requests takes texts only. Source: fly-go, duration.go.
    """
    config: dict[str, Any] = json.loads(config_json)
    for place, names in _places(config):
        for name in names:
            value = place.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                place[name] = _go_duration(value)
    return config


def _places(config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    yield config.get("stop_config") or {}, ("timeout",)
    for check in (config.get("checks") or {}).values():
        yield check, _CHECK_DURATIONS
    for service in config.get("services") or []:
        for check in service.get("checks") or []:
            yield check, _CHECK_DURATIONS


def _go_duration(nanoseconds: int) -> str:
    size, unit = next(pair for pair in _UNITS if nanoseconds % pair[0] == 0)
    return f"{nanoseconds // size}{unit}"

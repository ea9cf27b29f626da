"""Durations as flyctl sends them: it reads nanoseconds and texts alike, and writes texts.

Source: fly-go, duration.go.
"""

from __future__ import annotations

from typing import Any

from flykeep.testing.flysim.durations import places

_UNITS = ((10**9, "s"), (10**6, "ms"), (1, "ns"))


def write_texts(config: dict[str, Any]) -> None:
    """Turn the durations of a configuration into texts, in place."""
    for place, name in places(config):
        value = place.get(name)
        if isinstance(value, int):
            size, unit = next(pair for pair in _UNITS if value % pair[0] == 0)
            place[name] = f"{value // size}{unit}"

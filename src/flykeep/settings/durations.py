"""Durations as people write them: `26h`, `8d`, `20s`, `1h30m`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PATTERN = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
DURATION_PATTERN = r"^(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?$"
_MOST_S = 10 * 366 * 86_400


def parse_duration(text: str) -> timedelta:
    """The duration `text` stands for, largest unit first; raises ValueError for anything else."""
    found = _PATTERN.fullmatch(text.strip()) if text.strip() else None
    if found is None:
        raise ValueError("is not a duration: write 20s, 90m, 26h, 8d or 1h30m")
    seconds = sum(int(count) * size for count, size in zip(found.groups(), _UNITS.values(), strict=True) if count)
    if seconds > _MOST_S:
        raise ValueError("is longer than ten years")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """A text that `parse_duration` reads back as `duration`, to the second; up to three days are told in hours."""
    rest = int(duration.total_seconds())
    parts = []
    for unit in ("d", "h", "m", "s"):
        if unit == "d" and rest < 3 * _UNITS["d"]:
            continue
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"

"""How instants and durations are put to people, the same in messages, tables and summaries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def instant(at: datetime) -> str:
    """`2026-03-02 12:00 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def span(duration: timedelta) -> str:
    """A duration in its two largest units: `41 s`, `12 min`, `6 h 15 min`, `3 d 4 h`. Negative ones count as zero."""
    seconds = max(0, int(duration.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours == 0:
        return f"{minutes} min"
    large, small = (f"{hours} h", minutes % 60) if days < 2 else (f"{days} d", hours % 24)
    unit = "min" if days < 2 else "h"
    return f"{large} {small} {unit}" if small else large


def ago(at: datetime, *, now: datetime) -> str:
    """`2026-03-02 12:00 UTC (6 h ago)`."""
    return f"{instant(at)} ({span(now - at)} ago)"


def printable(text: str) -> str:
    """The text with whatever is no UTF-8 (surrogate escapes of file names) written out."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def took(duration: timedelta) -> str:
    """How long something took, finer than `span`: `48 s`, `4 min 12 s`, `1 h 3 min`; below a second `under 1 s`."""
    seconds = int(duration.total_seconds())
    if seconds < 1:
        return "under 1 s"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if 1 <= minutes < 60 and rest else span(duration)

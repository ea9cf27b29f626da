"""Words for people: sizes, ages, tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.markup import escape
from rich.table import Table

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def bytes_text(size: int) -> str:
    """`1.4 GiB`; three digits at most."""
    value = float(size)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def duration_text(duration: timedelta) -> str:
    """The two largest units: `3 d 4 h`, `4 min 12 s`."""
    seconds = int(abs(duration).total_seconds())
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def age_text(at: datetime | None, *, now: datetime) -> str:
    """How long ago, or `never`."""
    if at is None:
        return "never"
    return "in " + duration_text(at - now) if at > now else duration_text(now - at) + " ago"


def instant_text(at: datetime | None) -> str:
    """`2026-03-01 04:00 UTC`."""
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "-"


def table(*columns: str, rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """A plain table; cells are text, never markup."""
    drawn = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in drawn.columns:
        column.no_wrap = True
    for row in rows:
        drawn.add_row(*map(escape, row))
    return drawn

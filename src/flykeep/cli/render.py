"""Words for people: sizes, ages, tables, indented text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_GAP = "  "


def bytes_text(size: int) -> str:
    """`1.4 GiB`; three digits at most."""
    value = float(size)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def duration_text(duration: timedelta) -> str:
    """The largest unit and the one below it: `3 d 4 h`, `6 h`, `4 min 12 s`."""
    seconds = int(abs(duration).total_seconds())
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    first = next((number for number, (_, length) in enumerate(units) if seconds >= length), len(units) - 1)
    parts: list[str] = []
    for unit, length in units[first : first + 2]:
        count, seconds = divmod(seconds, length)
        if count or not parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts)


def count_text(count: int, noun: str) -> str:
    """`1 incident`, `2 incidents`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def age_text(at: datetime | None, *, now: datetime) -> str:
    """How long ago, or `never`."""
    if at is None:
        return "never"
    return "in " + duration_text(at - now) if at > now else duration_text(now - at) + " ago"


def instant_text(at: datetime | None) -> str:
    """`2026-03-01 04:00 UTC`."""
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "-"


def print_table(out: Console, *columns: str, rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Rows under aligned columns; where the terminal is too narrow for them, one block of lines per row.

    Cells are text, never markup, and none is ever cut or broken: ids are there to be copied. `styles` colours the
    first cell of each row.
    """
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    if out.is_terminal and sum(widths) + len(_GAP) * (len(widths) - 1) > out.width:
        _print_blocks(out, columns, rows, styles)
        return
    out.print(_line(columns, widths), style="bold", markup=False, soft_wrap=True)
    for number, row in enumerate(rows):
        text = Text(_line(row, widths))
        if styles:
            text.stylize(styles[number], 0, len(row[0]))
        out.print(text, soft_wrap=True)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _print_blocks(out: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
    width = max(map(len, columns))
    for number, row in enumerate(rows):
        for position, (name, cell) in enumerate(zip(columns, row, strict=True)):
            if not cell:
                continue
            line = Text(name.rjust(width) + _GAP, style="bold")
            line.append(cell, style=styles[number] if styles and position == 0 else "not bold")
            out.print(line, soft_wrap=True)
        if number < len(rows) - 1:
            out.print()


def print_indented(out: Console, text: str | Text, *, by: int, style: str = "") -> None:
    """Text that keeps its indentation where a terminal wraps it."""
    shown = text if isinstance(text, Text) else Text(text, style=style)
    if out.is_terminal:
        out.print(Padding(shown, (0, 0, 0, by), expand=False))
    else:
        out.print(Text(" " * by).append_text(shown))

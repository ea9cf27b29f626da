"""How a defect is told: its kind and its places. Never its words or values: foreign ones may quote a secret."""

from __future__ import annotations

import traceback


def kind_of(error: BaseException) -> str:
    """`ValueError`; of a group the kinds of its members too."""
    name = type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        return f"{name} of {', '.join(kind_of(member) for member in error.exceptions)}"
    return name


def places_of(error: BaseException) -> str:
    """The files and lines it came through, the first cause first, of a group those of every member."""
    parts: list[str] = []
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        parts.append(places_of(before))
    parts.extend(traceback.format_tb(error.__traceback__))
    parts.append(f"{kind_of(error)}\n")
    if isinstance(error, BaseExceptionGroup):
        parts.extend(places_of(member) for member in error.exceptions)
    return "".join(parts)

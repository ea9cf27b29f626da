"""Foreign errors of the database become StateError here, once.

A database's own words may quote values, so only the first line of the driver's message is kept, and engines are
built with `hide_parameters`. The URL, which may hold a password, is never part of an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from flykeep.domain.errors import FlykeepError, InternalError, StateError

_HINTS = (
    ("disk is full", "The disk of the state database is full: free space or extend the volume; nothing was stored."),
    ("no space left", "The disk of the state database is full: free space or extend the volume; nothing was stored."),
    ("database is locked", "Another process holds the state database: look for a hanging `flykeep`, then try again."),
    ("lock timeout", "Another process holds the state database: look for a hanging `flykeep`, then try again."),
    ("unable to open", "Create the folder of the state database, and let the user who runs flykeep write to it."),
    ("readonly database", "Let the user who runs flykeep write to the state database and to its folder."),
    (
        "not a database",
        "The configured path is not a flykeep database, or its file is damaged: put the right one back.",
    ),
    ("malformed", "The state database is damaged: put a copy of it back, or move it away and start with a new one."),
    ("password authentication", "Correct the user or the password in the configured database URL."),
    ("connection", "Check that the PostgreSQL server runs and can be reached from here under the configured URL."),
)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise StateError, saying what was being done, for whatever the database or its driver raises."""
    try:
        yield
    except TimeoutError as error:
        raise StateError(f"could not {doing}: the state database did not answer in time") from error
    except SQLAlchemyError as error:
        raise _as_own(error, doing=doing) from error


def _as_own(error: SQLAlchemyError, *, doing: str) -> FlykeepError:
    if isinstance(error, StatementError) and isinstance(error.orig, FlykeepError):
        return InternalError(error.orig.message)
    said = _first_line(error)
    lowered = said.lower()
    hint = next((hint for words, hint in _HINTS if words in lowered), None)
    return StateError(f"could not {doing}: {said}", hint=hint)


def _first_line(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else None
    lines = str(cause).strip().splitlines() if cause is not None else []
    return lines[0] if lines else type(error).__name__

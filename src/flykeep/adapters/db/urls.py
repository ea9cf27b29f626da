"""The configured database URL becomes the one of an async driver, and the statements that start a transaction."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from flykeep.domain.errors import ConfigError, StateError

_SQLITE: Final = frozenset({"sqlite", "sqlite+aiosqlite"})
_POSTGRESQL: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_HINT: Final = "Write sqlite:////absolute/path.db or postgresql://user@host/database."

# Locks are released at the end of the transaction, whatever ended it. The number is "flykeep" in ASCII, a constant of
# this program: advisory locks are counted per database.
_POSTGRESQL_BEGIN: Final = (
    (
        "SELECT set_config('lock_timeout', '30s', true), set_config('statement_timeout', '50s', true), "
        "set_config('idle_in_transaction_session_timeout', '120s', true)"
    ),
    "SELECT pg_advisory_xact_lock(28829716373136752)",
)

# Takes the write lock at once: a transaction that first read and then wrote could lose its turn to another process.
_SQLITE_BEGIN: Final = ("BEGIN IMMEDIATE",)


@dataclass(frozen=True, slots=True)
class Database:
    """Where the state lives. `url` may hold a password and is never shown."""

    url: URL = field(repr=False)
    is_sqlite: bool

    @property
    def begin(self) -> tuple[str, ...]:
        """The statements that open a transaction which no other writer can interleave with."""
        return _SQLITE_BEGIN if self.is_sqlite else _POSTGRESQL_BEGIN


def database_of(url: str) -> Database:
    """Read a configured URL.

    Raises ConfigError for what is neither SQLite in a file nor PostgreSQL, and StateError where the folder of the
    SQLite file is missing: creating it could put the state on the wrong disk when a volume is not mounted.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not chained: the parser quotes the URL, password and all.
        raise ConfigError("the database URL cannot be read", hint=_HINT) from None
    if parsed.drivername in _POSTGRESQL:
        return _postgresql(parsed)
    if parsed.drivername in _SQLITE:
        return _sqlite(parsed)
    raise ConfigError(f"flykeep keeps no state in {parsed.drivername!r}", hint=_HINT)


def _sqlite(url: URL) -> Database:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
        raise ConfigError("the state must be a file that outlives the process", hint=_HINT)
    folder = Path(url.database).absolute().parent
    if not folder.is_dir():
        raise StateError(
            f"the folder of the state database does not exist: {folder}",
            hint="Create it, or mount the volume that holds it.",
        )
    return Database(url=url.set(drivername="sqlite+aiosqlite"), is_sqlite=True)


def _postgresql(url: URL) -> Database:
    if "@" in (url.host or ""):  # a part of the password, read as the host's name and shown in every error
        raise ConfigError("the database URL cannot be read", hint="Write an @ in a password as %40.")
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigError("PostgreSQL needs a package that is not installed", hint="Install flykeep[postgres].")
    return Database(url=url.set(drivername="postgresql+psycopg"), is_sqlite=False)

"""The catalog over SQLAlchemy: `async with open_catalog(url) as catalog:`.

Every transaction, reading ones too, is serialized against all others: in this process by a lock that gives turns in
order, between processes by SQLite's write lock or a PostgreSQL advisory lock. A ledger of backups is small and its
writes are rare; that nobody can interleave is worth more than speed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from flykeep.adapters.db.errors import translated
from flykeep.adapters.db.migrate import migrate
from flykeep.adapters.db.statements import ANSWER_WITHIN, Statements, to_its_end
from flykeep.adapters.db.transaction import SqlTransaction
from flykeep.adapters.db.urls import Database, database_of
from flykeep.domain.errors import InternalError

T = TypeVar("T")
_LOCK_WITHIN: Final = timedelta(seconds=30)
_TURN_WITHIN: Final = timedelta(seconds=120)
_PING_WITHIN: Final = timedelta(seconds=10)

# FULL makes a commit survive a power cut; WAL alone would lose the newest ones.
_SQLITE_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


class SqlCatalog:
    """ports.catalog.Catalog on SQLite or PostgreSQL."""

    def __init__(self, engine: AsyncEngine, database: Database) -> None:
        self._engine = engine
        self._database = database
        self._turn = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlTransaction]:
        """Commit at the end, roll back on any exception.

        Raises StateError, and InternalError for a transaction begun inside another one of the same task.
        """
        async with self._own_turn(), self._connection() as connection:
            await self._begin(connection)
            yield SqlTransaction(Statements(connection))
            with translated("commit to the state database"):
                await to_its_end(_within(connection.commit()))

    async def ping(self) -> None:
        async with self._connection() as connection:
            with translated("reach the state database"):
                async with asyncio.timeout(_PING_WITHIN.total_seconds()):
                    await connection.execute(text("SELECT count(*) FROM alembic_version"))

    async def migrate(self) -> None:
        """Bring the tables up to this program's version; two processes may do this at once."""
        async with self._own_turn(), self._connection() as connection:
            await migrate(connection, begin=self._begin)

    @asynccontextmanager
    async def _own_turn(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        if self._holder is not None and self._holder is task:
            raise InternalError("a transaction was begun inside another one: it would wait for itself")
        with translated("get a turn at the state database"):
            async with asyncio.timeout(_TURN_WITHIN.total_seconds()):
                await self._turn.acquire()
        self._holder = task
        try:
            yield
        finally:
            self._holder = None
            self._turn.release()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection of the pool; what is not committed when it goes back is rolled back."""
        connection = self._engine.connect()
        try:
            with translated("open the state database"):
                await to_its_end(_within(connection.start()))
            yield connection
        finally:
            if connection.sync_connection is not None:
                with translated("leave the state database"):
                    await to_its_end(_within(connection.close()))

    async def _begin(self, connection: AsyncConnection) -> None:
        with translated("begin a transaction in the state database"):
            await to_its_end(_within(self._begun(connection)))

    async def _begun(self, connection: AsyncConnection) -> None:
        await connection.begin()
        for statement in self._database.begin:
            await connection.exec_driver_sql(statement)


async def _within(work: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
        return await work


@asynccontextmanager
async def open_catalog(url: str) -> AsyncIterator[SqlCatalog]:
    """The catalog at `sqlite:////absolute/path.db` or `postgresql://...`, its tables up to date.

    Raises ConfigError for any other URL and StateError where the database cannot be used, or was written by a newer
    flykeep.
    """
    database = database_of(url)
    engine = _engine(database)
    try:
        catalog = SqlCatalog(engine, database)
        await catalog.migrate()
        yield catalog
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                await engine.dispose()


def _engine(database: Database) -> AsyncEngine:
    if not database.is_sqlite:
        return create_async_engine(
            database.url, hide_parameters=True, pool_pre_ping=True, connect_args={"connect_timeout": 10}
        )
    engine = create_async_engine(
        database.url, hide_parameters=True, connect_args={"timeout": _LOCK_WITHIN.total_seconds()}
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must never begin or commit by itself: it would do so late, and read before it holds the lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()

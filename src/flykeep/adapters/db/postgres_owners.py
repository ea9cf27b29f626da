"""Owners' locks as PostgreSQL session advisory locks, each owner on a connection of its own.

A session's locks end with it, so they tell a living process from a dead one across hosts. Looking reads `pg_locks`
and disturbs nobody. Needs a real session: not through a pooler in transaction mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from flykeep.adapters.db.errors import translated
from flykeep.adapters.db.urls import Database
from flykeep.domain.errors import BusyError, StateError
from flykeep.domain.ids import OwnerId

_ANSWER_WITHIN: Final = timedelta(seconds=20)
_DAEMON: Final = "daemon"

_TRY: Final = text("SELECT pg_try_advisory_lock(:key)")
_RELEASE: Final = text("SELECT pg_advisory_unlock_all()")
# A bigint key shows in pg_locks as two halves with objsubid 1; only locks of this database count.
# Source: PostgreSQL manual, "pg_locks".
_IS_HELD: Final = text(
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND ((classid::bigint << 32) | objid::bigint) = CAST(:key AS bigint))"
)

# A peer that vanished without a word must not keep its locks, nor go unnoticed, for the kernel's two hours.
_KEEPALIVE: Final = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}


class PostgresOwners:
    """ports.ownership.Owners for processes on several hosts that share one PostgreSQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def hold(self, owner_id: OwnerId, *, is_daemon: bool) -> AsyncIterator[None]:
        """Be `owner_id`. Raises BusyError where another process is, or for a second daemon.

        The lock is lost with its connection (a failover, say), and somebody else may then take over; so the task that
        holds it is cancelled at once and the context raises StateError.
        """
        names = [*([_DAEMON] if is_daemon else []), f"owner:{owner_id}"]
        async with self._session() as connection:
            try:
                for name in names:
                    await _take(connection, name)
                async with _watched(connection):
                    yield
            finally:
                await _release(connection)

    async def is_alive(self, owner_id: OwnerId) -> bool:
        return await self._is_held(f"owner:{owner_id}")

    async def is_daemon_alive(self) -> bool:
        return await self._is_held(_DAEMON)

    async def _is_held(self, name: str) -> bool:
        async with self._session() as connection:
            return bool(await _scalar(connection, _IS_HELD, name=name))

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncConnection]:
        engine = self._engine()
        try:
            with translated("reach the state database"):
                async with asyncio.timeout(_ANSWER_WITHIN.total_seconds()):
                    connection = await engine.connect()
            try:
                yield connection
            finally:
                with contextlib.suppress(SQLAlchemyError, TimeoutError):  # gone already, and its locks with it
                    async with asyncio.timeout(_ANSWER_WITHIN.total_seconds()):
                        await asyncio.shield(asyncio.ensure_future(connection.close()))
        finally:
            await engine.dispose()

    def _engine(self) -> AsyncEngine:
        return create_async_engine(
            self._database.url,
            hide_parameters=True,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": 10, **_KEEPALIVE},
        )


async def _take(connection: AsyncConnection, name: str) -> None:
    if not await _scalar(connection, _TRY, name=name):
        who = "another flykeep daemon" if name == _DAEMON else name
        raise BusyError(f"{who} is alive", hint="Only one may run on this state; stop the other one first.")


async def _release(connection: AsyncConnection) -> None:
    """Let go now: the server would notice a closed connection a moment later. A lost one has let go already."""
    with contextlib.suppress(SQLAlchemyError, TimeoutError):
        async with asyncio.timeout(_ANSWER_WITHIN.total_seconds()):
            await connection.execute(_RELEASE)


async def _scalar(connection: AsyncConnection, statement: Any, *, name: str) -> Any:
    with translated("ask for an owner's lock"):
        async with asyncio.timeout(_ANSWER_WITHIN.total_seconds()):
            return (await connection.execute(statement, {"key": _key(name)})).scalar()


def _key(name: str) -> int:
    """A signed 64-bit number that is the same on every host and version."""
    return int.from_bytes(hashlib.sha256(f"flykeep:{name}".encode()).digest()[:8], "big", signed=True)


@asynccontextmanager
async def _watched(connection: AsyncConnection) -> AsyncIterator[None]:
    """Cancel the current task when the connection breaks; raises StateError in place of that cancellation."""
    task = asyncio.current_task()
    driver: Any = (await connection.get_raw_connection()).driver_connection
    is_lost = False

    async def watch() -> None:
        nonlocal is_lost
        try:
            async for _ in driver.notifies():  # waits for the server; ends only when the connection does
                pass
        except driver_errors():
            pass
        is_lost = True
        if task is not None:
            task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        try:
            yield
        finally:
            watcher.cancel()
            await asyncio.wait([watcher])
    except asyncio.CancelledError:
        if is_lost and task is not None and task.uncancel() == 0:
            raise StateError("the lock that says this process lives was lost with its connection") from None
        raise


def driver_errors() -> type[Exception]:
    """The driver's root error; imported late because PostgreSQL is an extra."""
    import psycopg  # noqa: PLC0415

    return psycopg.Error

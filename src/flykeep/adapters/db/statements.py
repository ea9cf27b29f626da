"""The one door to the database within a transaction: every statement is bounded in time and its errors are ours."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import CursorResult, Executable, Row, Table, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flykeep.adapters.db.errors import translated

ANSWER_WITHIN: Final = timedelta(seconds=60)
"""How long one statement may take. Longer than the databases' own waits for a lock, so that theirs is the error."""

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; a cancellation is passed on only once it has ended, and `work` bounds its own time.

    A driver that is cut off within a statement may keep the database's lock until the connection is collected.
    """
    task = asyncio.ensure_future(work)
    called_off: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            called_off = error
    if called_off is not None:
        task.cancelled() or task.exception()  # looked at, or asyncio complains of it
        raise called_off
    return task.result()


class Statements:
    """Executes statements on one connection that is inside a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """All rows the statement gives."""
        with translated("read the state database"):
            return (await to_its_end(self._execute(statement))).all()

    async def row(self, statement: Executable) -> Row[Any] | None:
        """Its first row."""
        rows = await self.rows(statement)
        return rows[0] if rows else None

    async def change(self, statement: Executable) -> int:
        """Execute and count the rows it changed."""
        with translated("write to the state database"):
            return (await to_its_end(self._execute(statement))).rowcount

    async def _execute(self, statement: Executable) -> CursorResult[Any]:
        async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
            return await self._connection.execute(statement)

    async def save(self, table: Table, row: Mapping[str, Any]) -> None:
        """Insert a row, or renew every other column of the row with the same primary key."""
        keys = [column.name for column in table.primary_key.columns]
        others = {name: value for name, value in row.items() if name not in keys}
        renewal = update(table).where(*(table.c[key] == row[key] for key in keys)).values(others)
        if not await self.change(renewal):
            await self.change(insert(table).values(dict(row)))

"""Bring a database's tables to this program's version, inside one transaction that holds the writers' lock.

Migrations go forward only. Alembic is imported when there is something to migrate, so that a command on an up-to-date
database does not pay for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from flykeep.adapters.db.errors import translated
from flykeep.adapters.db.statements import ANSWER_WITHIN
from flykeep.adapters.db.tables import REVISION
from flykeep.domain.errors import StateError

MIGRATIONS: Final = Path(__file__).with_name("migrations")


async def migrate(connection: AsyncConnection, *, begin: Callable[[AsyncConnection], Awaitable[None]]) -> None:
    """Upgrade to the newest revision; all of it or nothing.

    Raises StateError where the database was written by a newer flykeep, whose tables this one cannot know.
    """
    with translated("read the version of the state database"):
        async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
            revision = await connection.run_sync(_revision)
            await connection.rollback()
    if revision == REVISION:
        return
    await begin(connection)
    with translated("migrate the state database"):
        await connection.run_sync(_upgrade)
        await connection.commit()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - see the module's docstring
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    revision = _revision(connection)  # again, now that nobody else can change it
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise StateError(
            f"the state database is at version {revision}, which this flykeep does not know",
            hint="Run the flykeep that wrote it, or a newer one.",
        )
    command.upgrade(config, "head")

"""What apps consist of, as last read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select

from flykeep.adapters.db.statements import Statements
from flykeep.adapters.db.tables import app_descriptions
from flykeep.domain.app_description import parse_description, to_description_json
from flykeep.domain.ids import AppName
from flykeep.ports.catalog import SavedDescription


class SqlDescriptions:
    """ports.catalog.Descriptions within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._do = statements

    async def save_description(self, saved: SavedDescription) -> None:
        described = saved.description
        await self._do.save(
            app_descriptions,
            {
                "app": saved.app,
                "description_json": None if described is None else to_description_json(described),
                "fingerprint": saved.fingerprint,
                "read_at": saved.read_at,
                "failing_since_at": saved.failing_since_at,
                "failure": saved.failure,
            },
        )

    async def descriptions(self) -> Sequence[SavedDescription]:
        rows = await self._do.rows(select(app_descriptions))
        return tuple(sorted((_saved(row) for row in rows), key=lambda saved: saved.app))

    async def description(self, app: AppName) -> SavedDescription | None:
        row = await self._do.row(select(app_descriptions).where(app_descriptions.c.app == app))
        return None if row is None else _saved(row)


def _saved(row: Row[Any]) -> SavedDescription:
    return SavedDescription(
        app=AppName(row.app),
        description=None if row.description_json is None else parse_description(row.description_json),
        fingerprint=row.fingerprint,
        read_at=row.read_at,
        failing_since_at=row.failing_since_at,
        failure=row.failure,
    )

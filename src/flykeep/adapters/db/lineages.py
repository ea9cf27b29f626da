"""Lineages, the machine configurations kept for disaster recovery, and pauses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, or_, select

from flykeep.adapters.db.statements import Statements
from flykeep.adapters.db.tables import app_descriptions, lineages, machine_configs, pauses, proofs, snapshots, verdicts
from flykeep.domain.ids import AppName, LineageId, MachineId, VolumeName
from flykeep.domain.target import Lineage
from flykeep.ports.catalog import Pause


class SqlLineages:
    """ports.catalog.Lineages within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._do = statements

    async def save_lineage(self, lineage: Lineage) -> None:
        await self._do.save(
            lineages,
            {
                "id": lineage.id,
                "app": lineage.app,
                "volume_name": lineage.volume_name,
                "machine_id": lineage.machine_id,
                "machine_name": lineage.machine_name,
                "volume_ids": lineage.volume_ids,
                "first_seen_at": lineage.first_seen_at,
                "last_seen_at": lineage.last_seen_at,
                "is_retired": lineage.is_retired,
            },
        )

    async def lineages(self, *, include_retired: bool = False) -> Sequence[Lineage]:
        query = select(lineages)
        if not include_retired:
            query = query.where(lineages.c.is_retired.is_(False))
        found = [_lineage(row) for row in await self._do.rows(query)]
        # Sorted here: a database's collation is not the order of the labels.
        return tuple(sorted(found, key=lambda lineage: (lineage.label, lineage.machine_id or "", lineage.id)))

    async def save_machine_config(
        self, machine_id: MachineId, *, lineage_id: LineageId, config_json: str, now: datetime
    ) -> bool:
        last = await self._last_config(lineage_id)
        if last is not None and (last.machine_id, last.config_json) == (machine_id, config_json):
            return False
        await self._do.change(
            insert(machine_configs).values(
                lineage_id=lineage_id, machine_id=machine_id, config_json=config_json, saved_at=now
            )
        )
        return True

    async def machine_config(self, lineage_id: LineageId) -> str | None:
        last = await self._last_config(lineage_id)
        return None if last is None else str(last.config_json)

    async def forget_lineage(self, lineage_id: LineageId) -> None:
        for table in (machine_configs, proofs, snapshots, verdicts):
            await self._do.change(delete(table).where(table.c.lineage_id == lineage_id))
        rows = await self._do.rows(select(lineages.c.id, lineages.c.app, lineages.c.is_retired))
        apps = {row.app for row in rows if row.id == lineage_id}
        kept = {row.app for row in rows if row.id != lineage_id and not row.is_retired}
        for app in apps - kept:
            await self._do.change(delete(app_descriptions).where(app_descriptions.c.app == app))

    async def _last_config(self, lineage_id: LineageId) -> Row[Any] | None:
        query = select(machine_configs).where(machine_configs.c.lineage_id == lineage_id)
        return await self._do.row(query.order_by(machine_configs.c.sequence.desc()).limit(1))


class SqlPauses:
    """ports.catalog.Pauses within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._do = statements

    async def pause(self, pause: Pause) -> None:
        await self._do.save(
            pauses,
            {
                "target": pause.target,
                "until_at": pause.until_at,
                "reason": pause.reason,
                "paused_at": pause.paused_at,
            },
        )

    async def resume(self, target: str) -> bool:
        return await self._do.change(delete(pauses).where(pauses.c.target == target)) == 1

    async def pauses(self, *, now: datetime) -> Sequence[Pause]:
        query = select(pauses).where(or_(pauses.c.until_at.is_(None), pauses.c.until_at > now))
        rows = await self._do.rows(query.order_by(pauses.c.paused_at, pauses.c.target))
        return tuple(Pause(row.target, row.until_at, row.reason, row.paused_at) for row in rows)


def _lineage(row: Row[Any]) -> Lineage:
    return Lineage(
        id=LineageId(row.id),
        app=AppName(row.app),
        volume_name=VolumeName(row.volume_name),
        machine_id=None if row.machine_id is None else MachineId(row.machine_id),
        machine_name=row.machine_name,
        volume_ids=row.volume_ids,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
        is_retired=row.is_retired,
    )

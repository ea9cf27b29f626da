"""Pins, and the audit."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, insert, select

from flykeep.adapters.db.statements import Statements
from flykeep.adapters.db.tables import audit, pins
from flykeep.domain.holds import AuditAction, AuditEntry, Pin
from flykeep.domain.ids import ExportId


class SqlHolds:
    """ports.catalog.Holds within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._do = statements

    async def pin(self, pin: Pin) -> None:
        await self._do.save(
            pins,
            {
                "export_id": pin.export_id,
                "reason": pin.reason,
                "pinned_at": pin.pinned_at,
                "pinned_by": pin.pinned_by,
            },
        )

    async def unpin(self, export_id: ExportId) -> bool:
        return await self._do.change(delete(pins).where(pins.c.export_id == export_id)) == 1

    async def pins(self) -> Sequence[Pin]:
        rows = await self._do.rows(select(pins).order_by(pins.c.pinned_at, pins.c.export_id))
        return tuple(Pin(ExportId(row.export_id), row.reason, row.pinned_at, row.pinned_by) for row in rows)

    async def add_audit(self, entry: AuditEntry) -> None:
        await self._do.change(
            insert(audit).values(
                at=entry.at,
                actor=entry.actor,
                action=entry.action.value,
                subject=entry.subject,
                reason=entry.reason,
                counts=entry.counts,
            )
        )

    async def audit(self, *, limit: int = 100) -> Sequence[AuditEntry]:
        rows = await self._do.rows(select(audit).order_by(audit.c.id.desc()).limit(limit))
        return tuple(
            AuditEntry(row.at, row.actor, AuditAction(row.action), row.subject, row.reason, row.counts) for row in rows
        )

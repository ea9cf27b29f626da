"""Verdicts, incidents, and the outbox their messages leave by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, exists, insert, select, update

from flykeep.adapters.db.statements import Statements
from flykeep.adapters.db.tables import deliveries, incidents, marks, notes, verdicts
from flykeep.domain.findings import Compliance, Delivery, Incident, Message
from flykeep.domain.ids import IncidentId

_FLY_SEEN: Final = "fly_seen"


class SqlAlerts:
    """ports.catalog.Alerts within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._do = statements

    async def save_verdict(self, compliance: Compliance) -> None:
        """An evaluation older than the one kept changes nothing: two checks may end in the wrong order."""
        known = await self._do.row(select(verdicts).where(verdicts.c.lineage_id == compliance.lineage_id))
        if known is not None and known.evaluated_at > compliance.evaluated_at:
            return
        last_conclusive = None if known is None else known.conclusive
        await self._do.save(
            verdicts,
            {
                "lineage_id": compliance.lineage_id,
                "evaluated_at": compliance.evaluated_at,
                "newest": compliance,
                "conclusive": compliance if compliance.is_conclusive else last_conclusive,
            },
        )

    async def verdicts(self) -> Sequence[Compliance]:
        found: list[Compliance] = [row.conclusive or row.newest for row in await self._do.rows(select(verdicts))]
        return tuple(sorted(found, key=lambda verdict: (verdict.label, verdict.lineage_id)))

    async def fly_seen_at(self) -> datetime | None:
        row = await self._do.row(select(marks).where(marks.c.name == _FLY_SEEN))
        at: datetime | None = None if row is None else row.at
        return at

    async def save_fly_seen(self, at: datetime) -> None:
        """Never moves backwards."""
        known_at = await self.fly_seen_at()
        if known_at is None or known_at < at:
            await self._do.save(marks, {"name": _FLY_SEEN, "at": at})

    async def note(self, name: str) -> str | None:
        row = await self._do.row(select(notes).where(notes.c.name == name))
        value: str | None = None if row is None else row.value
        return value

    async def save_note(self, name: str, value: str) -> None:
        await self._do.save(notes, {"name": name, "value": value})

    async def save_incident(self, incident: Incident) -> None:
        """Raises StateError where another incident of the same finding is open."""
        await self._do.save(
            incidents,
            {
                "id": incident.id,
                "finding_key": incident.finding.key,
                "finding": incident.finding,
                "opened_at": incident.opened_at,
                "last_notified_at": incident.last_notified_at,
                "reminder_count": incident.reminder_count,
                "resolved_at": incident.resolved_at,
                "acknowledged_at": incident.acknowledged_at,
                "muted_until": incident.muted_until,
            },
        )

    async def incidents(self, *, is_open: bool | None = None, limit: int = 200) -> Sequence[Incident]:
        query = select(incidents).order_by(incidents.c.opened_at.desc(), incidents.c.id.desc()).limit(limit)
        if is_open is not None:
            resolved_at = incidents.c.resolved_at
            query = query.where(resolved_at.is_(None) if is_open else resolved_at.is_not(None))
        return tuple(_incident(row) for row in await self._do.rows(query))

    async def enqueue(self, notifier: str, message: Message, *, now: datetime) -> None:
        sent = select(deliveries.c.id).where(deliveries.c.notifier == notifier, deliveries.c.message_id == message.id)
        if await self._do.row(sent) is not None:
            return
        await self._do.change(
            insert(deliveries).values(
                notifier=notifier,
                message_id=message.id,
                message=message,
                created_at=now,
                attempts=0,
                next_attempt_at=now,
            )
        )

    async def due_deliveries(self, *, now: datetime, limit: int = 50) -> Sequence[Delivery]:
        """Oldest first. What stands behind a message of its notifier that waits for another try waits with it."""
        ahead = deliveries.alias("ahead")
        is_held = exists().where(
            ahead.c.notifier == deliveries.c.notifier, ahead.c.id < deliveries.c.id, ahead.c.next_attempt_at > now
        )
        query = select(deliveries).where(deliveries.c.next_attempt_at <= now, ~is_held)
        rows = await self._do.rows(query.order_by(deliveries.c.id).limit(limit))
        return tuple(_delivery(row) for row in rows)

    async def delivered(self, delivery_id: int, *, now: datetime) -> None:
        await self._do.change(
            update(deliveries)
            .where(deliveries.c.id == delivery_id, deliveries.c.delivered_at.is_(None))
            .values(delivered_at=now, given_up_at=None, next_attempt_at=None, attempts=deliveries.c.attempts + 1)
        )

    async def delivery_failed(
        self, delivery_id: int, *, error: str, next_attempt_at: datetime | None, now: datetime
    ) -> None:
        """A message that was delivered meanwhile stays delivered."""
        await self._do.change(
            update(deliveries)
            .where(deliveries.c.id == delivery_id, deliveries.c.delivered_at.is_(None))
            .values(
                attempts=deliveries.c.attempts + 1,
                last_error=error,
                next_attempt_at=next_attempt_at,
                given_up_at=now if next_attempt_at is None else None,
            )
        )


def _incident(row: Row[Any]) -> Incident:
    return Incident(
        id=IncidentId(row.id),
        finding=row.finding,
        opened_at=row.opened_at,
        last_notified_at=row.last_notified_at,
        reminder_count=row.reminder_count,
        resolved_at=row.resolved_at,
        acknowledged_at=row.acknowledged_at,
        muted_until=row.muted_until,
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        notifier=row.notifier,
        message=row.message,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        created_at=row.created_at,
        last_error=row.last_error,
    )

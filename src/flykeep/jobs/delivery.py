"""Delivers messages: reads the outbox, tries, waits longer each time, and reports a notifier that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog

from flykeep.domain.errors import NotifyError
from flykeep.domain.findings import Delivery
from flykeep.jobs.alerting import Alerting
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.notifier import Notifier

_LOOK_EVERY = timedelta(seconds=1)
_SEND_LIMIT = timedelta(seconds=30)
_BACKOFF = (
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
)
_REPORT_AFTER_ATTEMPTS = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outbox:
    """At-least-once: a message is marked delivered only after its notifier accepted it."""

    catalog: Catalog
    clock: Clock
    notifiers: Mapping[str, Notifier]
    alerting: Alerting

    async def run(self) -> None:
        while True:
            await self.deliver_due()
            await self.clock.sleep(_LOOK_EVERY)

    async def deliver_due(self) -> int:
        """Try everything that is due once, notifiers side by side; returns how many were accepted."""
        async with self.catalog.transaction() as tx:
            due = await tx.due_deliveries(now=self.clock.now())
        by_notifier: dict[str, list[Delivery]] = {}
        for delivery in due:
            by_notifier.setdefault(delivery.notifier, []).append(delivery)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._deliver_all(rows)) for rows in by_notifier.values()]
        return sum(task.result() for task in tasks)

    async def _deliver_all(self, deliveries: list[Delivery]) -> int:
        accepted = 0
        for delivery in deliveries:
            if not await self._deliver(delivery):
                break  # the rest waits behind it, in order
            accepted += 1
        return accepted

    async def _deliver(self, delivery: Delivery) -> bool:
        error = await self._send(delivery)
        if error is not None:
            await self._failed(delivery, error)
            return False
        async with self.catalog.transaction() as tx:
            await tx.delivered(delivery.id, now=self.clock.now())
        log.info("message.delivered", notifier=delivery.notifier, message=delivery.message.id)
        await self.alerting.notifier_works(delivery.notifier)
        return True

    async def _send(self, delivery: Delivery) -> NotifyError | None:
        """None where it was accepted. A defect of a notifier, which may be foreign code, must not end the daemon."""
        notifier = self.notifiers.get(delivery.notifier)
        if notifier is None:
            return NotifyError("this notifier is not configured any more", is_permanent=True)
        try:
            async with asyncio.timeout(_SEND_LIMIT.total_seconds()):
                await notifier.send(delivery.message)
        except NotifyError as error:
            return error
        except TimeoutError:
            return NotifyError(f"no answer within {_SEND_LIMIT.total_seconds():.0f} s")
        except Exception as error:  # noqa: BLE001 - its words may quote a secret: only its kind is told
            return NotifyError(f"has a defect: {type(error).__name__}")
        return None

    async def _failed(self, delivery: Delivery, error: NotifyError) -> None:
        now = self.clock.now()
        attempts = delivery.attempts + 1
        gives_up = error.is_permanent or attempts > len(_BACKOFF)
        next_attempt_at = None if gives_up else now + _BACKOFF[attempts - 1]
        async with self.catalog.transaction() as tx:
            await tx.delivery_failed(delivery.id, error=error.message, next_attempt_at=next_attempt_at, now=now)
        log.error(
            "message.failed",
            notifier=delivery.notifier,
            message=delivery.message.id,
            attempts=attempts,
            gives_up=gives_up,
            error=error.message,
            hint=error.next_step,
        )
        is_configured = delivery.notifier in self.notifiers
        if is_configured and (gives_up or attempts >= _REPORT_AFTER_ATTEMPTS):
            await self.alerting.notifier_fails(delivery.notifier, error.message, since_at=delivery.created_at)

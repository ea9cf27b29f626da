"""Wakes the daemon. It decides nothing: what is due is asked of the domain, and the runs table is the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from flykeep.domain.cadence import next_occurrence
from flykeep.domain.policy import Schedule

TICK = timedelta(minutes=1)


class SlotTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires at the next slot of any schedule, and at least once a tick.

    `schedules` is asked again each time, so that a changed set of targets needs no new trigger.
    """

    __slots__ = ("_schedules", "_tick")

    def __init__(self, schedules: Callable[[], Iterable[Schedule]], *, tick: timedelta = TICK) -> None:
        self._schedules = schedules
        self._tick = tick

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The next slot or tick, always later than `now`: what was missed meanwhile is one wake-up, not many."""
        after = max(previous_fire_time or now, now).astimezone(UTC)
        slots = (next_occurrence(schedule, after=after) for schedule in set(self._schedules()))
        return min([after + self._tick, *slots])


class Waker:
    """Calls `on_wake` at the start, at every slot and at least once a tick, never twice at a time.

    Wake-ups that fall into a call are answered by one more call after it. What `on_wake` raises ends `run`.
    """

    def __init__(
        self,
        on_wake: Callable[[], Awaitable[None]],
        schedules: Callable[[], Iterable[Schedule]],
        *,
        tick: timedelta = TICK,
    ) -> None:
        self._on_wake = on_wake
        self._trigger = SlotTrigger(schedules, tick=tick)
        self._rung = asyncio.Event()

    async def run(self) -> None:
        """Wake until cancelled."""
        scheduler = AsyncIOScheduler(timezone=UTC)
        scheduler.add_job(self._ring, self._trigger, coalesce=True, max_instances=1, misfire_grace_time=None)
        scheduler.start()
        try:
            self._rung.set()
            while True:
                await self._rung.wait()
                self._rung.clear()
                await self._on_wake()
        finally:
            scheduler.shutdown(wait=False)

    def ring(self) -> None:
        """Wake now: a run was submitted, a target was resumed."""
        self._rung.set()

    async def _ring(self) -> None:
        self._rung.set()

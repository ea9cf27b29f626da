"""Clocks and ids a test steers."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

_START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until `advance` moves it; sleepers wake in order of their deadlines."""

    def __init__(self, start_at: datetime = _START) -> None:
        self._now_at = start_at
        self._elapsed_s = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now_at

    def monotonic(self) -> float:
        return self._elapsed_s

    @property
    def sleeper_count(self) -> int:
        """How many tasks wait on this clock now."""
        return sum(1 for _, _, future in self._sleepers if not future.done())

    async def sleep(self, duration: timedelta) -> None:
        if duration <= timedelta(0):
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_at + duration, next(self._order), future))
        await future

    async def advance(self, duration: timedelta) -> None:
        """Move time forward, waking each sleeper at its own deadline and letting it run before the next."""
        end_at = self._now_at + duration
        while self._sleepers and self._sleepers[0][0] <= end_at:
            due_at, _, future = heapq.heappop(self._sleepers)
            self._move_to(due_at)
            if not future.done():
                future.set_result(None)
            await _settle()
        self._move_to(end_at)
        await _settle()

    def _move_to(self, at: datetime) -> None:
        self._elapsed_s += (at - self._now_at).total_seconds()
        self._now_at = at


class JumpingClock(ManualClock):
    """A clock that jumps to the end of every sleep at once; only for tests without sockets."""

    async def sleep(self, duration: timedelta) -> None:
        if duration > timedelta(0):
            self._move_to(self._now_at + duration)
        await asyncio.sleep(0)


class CountedIds:
    """Ids that count up, so that a test can name them beforehand."""

    def __init__(self) -> None:
        self._runs = itertools.count(1)
        self._tokens = itertools.count(1)

    def run_id(self) -> str:
        return f"{next(self._runs):026d}"

    def token(self) -> str:
        return f"{next(self._tokens):032x}"

    def jitter(self) -> float:
        return 0.0


async def _settle() -> None:
    """Give every task that is ready a few turns of the loop."""
    for _ in range(20):
        await asyncio.sleep(0)

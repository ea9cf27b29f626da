"""Claims due runs and executes them, bounded, one per lineage at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog

from flykeep.domain.ids import OwnerId, RunId
from flykeep.domain.run import Run
from flykeep.jobs.runner import Runner
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock

_LOOK_EVERY = timedelta(seconds=1)

log = structlog.get_logger()


@dataclass(slots=True)
class Executor:
    """The daemon's hands. `owner_id` must hold its lock for as long as this works."""

    catalog: Catalog
    clock: Clock
    runner: Runner
    owner_id: OwnerId
    max_parallel: int
    _running: dict[RunId, asyncio.Task[None]] = field(default_factory=dict)
    _claiming: asyncio.Lock = field(default_factory=asyncio.Lock)
    _is_draining: bool = False

    @property
    def running_count(self) -> int:
        return len(self._running)

    async def run(self) -> None:
        """Work until drained or cancelled; cancelling interrupts the runs and waits until that is recorded."""
        async with asyncio.TaskGroup() as group:
            while not self._is_draining:
                async with self._claiming:
                    await self._claim_due(group)
                await self.clock.sleep(_LOOK_EVERY)

    async def drain(self, *, within: timedelta) -> None:
        """Claim nothing more, let running runs end, and interrupt those that have not ended in time."""
        self._is_draining = True
        async with self._claiming:  # what is being claimed just now belongs to what runs
            ends_at = self.clock.monotonic() + within.total_seconds()
        while self._running and self.clock.monotonic() < ends_at:
            await self.clock.sleep(_LOOK_EVERY)
        await self.interrupt()

    async def interrupt(self) -> None:
        """Claim nothing more, and cancel what runs; each run records itself as interrupted."""
        self._is_draining = True
        async with self._claiming:
            for task in list(self._running.values()):
                task.cancel()

    async def _claim_due(self, group: asyncio.TaskGroup) -> None:
        free = self.max_parallel - len(self._running)
        if free <= 0:
            return
        async with self.catalog.transaction() as tx:
            due = await tx.claimable(now=self.clock.now(), limit=free)
            claimed = [run for run in due if await tx.claim(run.id, owner_id=self.owner_id, now=self.clock.now())]
            fresh = [found for run in claimed if (found := await tx.run(run.id)) is not None]
        for run in fresh:
            task = group.create_task(self._execute(run), name=f"run {run.id}")
            self._running[run.id] = task
            task.add_done_callback(partial(self._forget, run.id))

    def _forget(self, run_id: RunId, _: asyncio.Task[None]) -> None:
        self._running.pop(run_id, None)

    async def _execute(self, run: Run) -> None:
        await self.runner.execute(run)

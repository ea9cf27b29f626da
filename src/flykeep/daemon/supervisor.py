"""Holds the daemon together: one task group; whatever of it fails ends the process with its reason."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from datetime import timedelta

import structlog

from flykeep.adapters.sched.apscheduler import Waker
from flykeep.daemon.executor import Executor
from flykeep.daemon.health import Pulse, build_app, serve
from flykeep.daemon.signals import StopSignals
from flykeep.daemon.ticker import Ticker
from flykeep.jobs.delivery import Outbox
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock

_LAST_MESSAGES_LIMIT = timedelta(seconds=10)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Supervisor:
    catalog: Catalog
    clock: Clock
    ticker: Ticker
    executor: Executor
    outbox: Outbox
    reconcile: ReconcileJob
    signals: StopSignals
    listener: socket.socket
    drain_timeout: timedelta

    async def run(self) -> None:
        """Reconcile, then work until a signal; drain, deliver what is left, and return."""
        pulse = Pulse(self.clock)
        report = await self.reconcile.reconcile(is_applied=True, is_thorough=False)
        log.info("daemon.started", interrupted=len(report.interrupted), bind=str(self.listener.getsockname()[:2]))
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(self._waker(pulse).run(), name="ticker"),
                group.create_task(self.outbox.run(), name="outbox"),
                group.create_task(serve(build_app(pulse=pulse, catalog=self.catalog), self.listener), name="http"),
            ]
            work = group.create_task(self.executor.run(), name="executor")
            await self.signals.asked.wait()
            log.info("daemon.draining", running=self.executor.running_count)
            await self._drain()
            await work
            for task in helpers:
                task.cancel()
        await self._last_messages()
        log.info("daemon.stopped")

    def _waker(self, pulse: Pulse) -> Waker:
        async def wake() -> None:
            await self.ticker.tick()
            pulse.beat()

        return Waker(wake, self.ticker.schedules)

    async def _drain(self) -> None:
        """Within Fly's `kill_timeout`; a second signal cuts it short."""
        drain = asyncio.ensure_future(self.executor.drain(within=self.drain_timeout))
        insisted = asyncio.ensure_future(self.signals.insisted.wait())
        await asyncio.wait({drain, insisted}, return_when=asyncio.FIRST_COMPLETED)
        if not drain.done():
            log.warning("daemon.interrupting", running=self.executor.running_count)
            drain.cancel()
            await self.executor.interrupt()
        insisted.cancel()
        await asyncio.gather(drain, insisted, return_exceptions=True)

    async def _last_messages(self) -> None:
        try:
            async with asyncio.timeout(_LAST_MESSAGES_LIMIT.total_seconds()):
                await self.outbox.deliver_due()
        except TimeoutError:
            log.warning("daemon.messages_left", hint="They stay in the outbox and go out at the next start.")

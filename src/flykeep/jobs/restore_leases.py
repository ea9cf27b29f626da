"""Holds the machines of a restore against deploys, and against a second flykeep, as long as it works on them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from flykeep.domain.errors import BusyError, FlyConflictError, FlyError
from flykeep.domain.ids import AppName, MachineId
from flykeep.domain.restore_phases import LEASE
from flykeep.jobs.persistence import LOST
from flykeep.jobs.restore_log import Course
from flykeep.ports.clock import Clock
from flykeep.ports.fly import Lease
from flykeep.ports.production import ProductionFly

_TTL = timedelta(minutes=5)  # whoever goes on after a dead process waits so long at most
_LEAST = timedelta(minutes=2)
_LOOK_EVERY = timedelta(seconds=10)
_LOSSES_AT_MOST = 2
_RELEASE_LIMIT = timedelta(seconds=20)

log = structlog.get_logger()


@dataclass
class Leases:
    """The leases one process has for one restore.

    One whose answer was lost, or that a dead process of this restore took, can be shown by nobody: it is waited for.
    """

    fly: ProductionFly
    clock: Clock
    course: Course
    ours_until: datetime | None = None
    _held: dict[MachineId, tuple[Lease, datetime]] = field(default_factory=dict)

    async def of(self, app: AppName, machine_id: MachineId) -> Lease:
        """A lease that holds for some minutes more. Raises BusyError where somebody else has it."""
        held = self._held.get(machine_id)
        if held is not None:
            lease, until = held
            if until - self.clock.now() > _LEAST:
                return lease
            await self._release(lease)
        return await self._acquire(app, machine_id)

    async def release(self) -> None:
        """Let go of all, even where the run is cancelled; what cannot be given back ends by itself."""
        for lease, _ in tuple(self._held.values()):
            task = asyncio.ensure_future(self._release(lease))
            try:
                async with asyncio.timeout(_RELEASE_LIMIT.total_seconds()):
                    await asyncio.shield(task)
            except TimeoutError:
                task.cancel()

    async def _acquire(self, app: AppName, machine_id: MachineId) -> Lease:
        losses = 0
        while True:
            until = self.clock.now() + _TTL
            await self.course.note(LEASE, machine=machine_id, until=until.isoformat())
            try:
                lease = await self.fly.acquire_lease(app, machine_id, within=_TTL, reason="flykeep restore")
            except FlyConflictError as error:
                await self._wait(app, machine_id, error.message)
            except LOST as error:
                losses += 1
                if losses > _LOSSES_AT_MOST:
                    raise
                self.ours_until = until + _LOOK_EVERY
                await self._wait(app, machine_id, error.message)
            else:
                self._held[machine_id] = lease, until
                return lease

    async def _wait(self, app: AppName, machine_id: MachineId, why: str) -> None:
        """Until nobody holds it, where the holder may be this restore's own dead process."""
        while True:
            if self.ours_until is None or self.clock.now() >= self.ours_until:
                raise BusyError(
                    f"machine {machine_id} is held by somebody else, most likely a deploy: {why}",
                    hint="Wait until it is over, then go on with `flykeep restore resume`.",
                    facts={"app": app, "machine": machine_id},
                )
            await self.clock.sleep(_LOOK_EVERY)
            if await self.fly.lease_holder(app, machine_id) is None:
                return

    async def _release(self, lease: Lease) -> None:
        self._held.pop(lease.machine_id, None)
        try:
            await self.fly.release_lease(lease)
        except FlyError as error:
            log.warning("lease.not_released", machine=lease.machine_id, error=str(error))

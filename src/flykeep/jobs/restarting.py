"""Restart a machine that was given other files, and see whether it is well."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import FlyError, FlyUnavailableError
from flykeep.jobs.health import Condition, Health, condition_of
from flykeep.ports.clock import Clock
from flykeep.ports.fly import Lease, MachineController

_START_LIMIT = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Restarter:
    """Failures are answers here: the files are in place whatever becomes of the restart."""

    control: MachineController
    clock: Clock

    async def restart(self, lease: Lease) -> Condition:
        """Restart, wait until it is started, then until its checks pass or the time for it is over."""
        try:
            with contextlib.suppress(FlyUnavailableError):  # it may have happened: whether it runs decides
                await self.control.restart_machine(lease)
            await self.control.wait_machine(lease.app, lease.machine_id, "started", _START_LIMIT)
        except FlyError as error:
            return Condition(Health.NOT_RESTARTED, str(error))
        return await condition_of(self.control, self.clock, lease.app, lease.machine_id)

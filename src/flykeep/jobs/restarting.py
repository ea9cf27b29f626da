"""Restart a machine that was given other files, and see whether it is well."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from flykeep.domain.errors import FlyError, FlyUnavailableError
from flykeep.domain.fly import MachineCheck
from flykeep.ports.clock import Clock
from flykeep.ports.fly import Lease, MachineController

_START_LIMIT = timedelta(minutes=3)
_HEALTH_LIMIT = timedelta(minutes=5)
_LOOK_EVERY = timedelta(seconds=5)


class Health(StrEnum):
    """How the application is after its files were changed."""

    HEALTHY = "healthy"  # every check of the machine passes
    UNCHECKED = "started, and it has no checks"
    UNTOUCHED = "not restarted, as asked"
    NOT_RESTARTED = "not restarted"
    UNHEALTHY = "unhealthy"

    @property
    def is_good(self) -> bool:
        return self not in {Health.NOT_RESTARTED, Health.UNHEALTHY}


@dataclass(frozen=True, slots=True)
class Condition:
    """`detail` says what failed."""

    health: Health
    detail: str = ""


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
        return await self._checked(lease)

    async def _checked(self, lease: Lease) -> Condition:
        ends_at = self.clock.monotonic() + _HEALTH_LIMIT.total_seconds()
        while True:
            try:
                checks = await self.control.machine_checks(lease.app, lease.machine_id)
            except FlyError as error:
                return Condition(Health.UNHEALTHY, f"its checks cannot be read: {error}")
            failing = [check for check in checks if not check.is_passing]
            if not failing:
                return Condition(Health.HEALTHY if checks else Health.UNCHECKED)
            if self.clock.monotonic() >= ends_at:
                return Condition(Health.UNHEALTHY, "; ".join(_told(check) for check in failing))
            await self.clock.sleep(_LOOK_EVERY)


def _told(check: MachineCheck) -> str:
    return f"{check.name} is {check.status}: {check.output[:200]}"

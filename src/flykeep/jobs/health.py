"""Whether an application is well after its files or its volume were changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from flykeep.domain.errors import FlyError
from flykeep.domain.fly import MachineCheck
from flykeep.domain.ids import AppName, MachineId
from flykeep.ports.clock import Clock

HEALTH_LIMIT = timedelta(minutes=5)
_LOOK_EVERY = timedelta(seconds=5)


class Health(StrEnum):
    """How the application is."""

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


class CheckReader(Protocol):
    async def machine_checks(self, app: AppName, machine_id: MachineId) -> tuple[MachineCheck, ...]: ...


async def condition_of(
    checks: CheckReader, clock: Clock, app: AppName, machine_id: MachineId, *, within: timedelta = HEALTH_LIMIT
) -> Condition:
    """Looks until every check passes, or the time for it is over."""
    ends_at = clock.monotonic() + within.total_seconds()
    while True:
        try:
            found = await checks.machine_checks(app, machine_id)
        except FlyError as error:
            return Condition(Health.UNHEALTHY, f"its checks cannot be read: {error}")
        failing = [check for check in found if not check.is_passing]
        if not failing:
            return Condition(Health.HEALTHY if found else Health.UNCHECKED)
        if clock.monotonic() >= ends_at:
            return Condition(Health.UNHEALTHY, "; ".join(_told(check) for check in failing))
        await clock.sleep(_LOOK_EVERY)


def _told(check: MachineCheck) -> str:
    return f"{check.name} is {check.status}: {check.output[:200]}"

"""Hold a machine's lease while something about it changes, so that no deploy comes between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from flykeep.domain.errors import BusyError, FlyConflictError, FlyError
from flykeep.domain.fly import Machine
from flykeep.ports.clock import Clock
from flykeep.ports.fly import Lease, MachineController

_LEASE = timedelta(minutes=15)
_RELEASE_LIMIT = timedelta(seconds=20)

log = structlog.get_logger()


@asynccontextmanager
async def held(control: MachineController, machine: Machine, *, reason: str) -> AsyncIterator[Lease]:
    """Let go at the end even where the run is cancelled. Raises BusyError where somebody else holds the machine."""
    try:
        lease = await control.acquire_lease(machine.app, machine.id, within=_LEASE, reason=reason)
    except FlyConflictError as error:
        raise BusyError(
            f"machine {machine.id} is held by somebody else, most likely a deploy: {error.message}",
            hint="Wait until it is over, then try again.",
            facts={"app": machine.app, "machine": machine.id},
        ) from error
    try:
        yield lease
    finally:
        await _release(control, lease)


@asynccontextmanager
async def renewed(control: MachineController, lease: Lease, clock: Clock) -> AsyncIterator[None]:
    """Keep the lease from running out while something inside takes its time; a renewal that fails is logged."""
    renewing = asyncio.create_task(_renew(control, lease, clock))
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.wait({renewing})


async def _renew(control: MachineController, lease: Lease, clock: Clock) -> None:
    while True:
        await clock.sleep(_LEASE / 3)
        try:
            await control.renew_lease(lease, within=_LEASE)
        except FlyError as error:
            log.warning("lease.not_renewed", machine=lease.machine_id, error=str(error))


async def _release(control: MachineController, lease: Lease) -> None:
    """A lease that cannot be given back ends by itself."""
    release = asyncio.ensure_future(control.release_lease(lease))
    try:
        async with asyncio.timeout(_RELEASE_LIMIT.total_seconds()):
            await asyncio.shield(release)
    except (FlyError, TimeoutError) as error:
        release.cancel()
        log.warning("lease.not_released", machine=lease.machine_id, error=str(error) or "timed out")

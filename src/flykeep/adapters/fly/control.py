"""Holding, restarting and judging machines that people use: the port `ports.fly.MachineController` over HTTP."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from flykeep.adapters.fly.client import FlyClient
from flykeep.adapters.fly.http import Repeat
from flykeep.adapters.fly.pacing import GET_MACHINE
from flykeep.adapters.fly.wire import WireChecks, WireLease
from flykeep.domain.errors import FlyNotFoundError, FlyPreconditionError
from flykeep.domain.fly import MachineCheck
from flykeep.domain.ids import AppName, MachineId
from flykeep.ports.fly import Lease

NONCE_HEADER = "fly-machine-lease-nonce"


class FlyControl:
    """Acts through a FlyClient's connections, at its pace."""

    def __init__(self, fly: FlyClient) -> None:
        self._fly = fly
        self._api = fly.api

    async def lease_holder(self, app: AppName, machine_id: MachineId) -> str | None:
        """As the port says."""
        request = self._api.get(
            *_path(app, machine_id), "lease", action="lease.get", identifier=machine_id, facts=_facts(app, machine_id)
        )
        try:
            lease = await self._api.read(request, WireLease)
        except FlyNotFoundError:
            return None
        return lease.data.owner or "somebody who gave no name"

    async def acquire_lease(self, app: AppName, machine_id: MachineId, *, within: timedelta, reason: str) -> Lease:
        """As the port says. A lost answer leaves a lease that nobody can show, until it ends by itself."""
        request = self._api.post(
            *_path(app, machine_id),
            "lease",
            action="lease.acquire",
            identifier=machine_id,
            repeat=Repeat.NEVER,
            body={"ttl": math.ceil(within.total_seconds()), "description": reason},
            facts=_facts(app, machine_id),
        )
        lease = await self._api.read(request, WireLease)
        return Lease(app=app, machine_id=machine_id, nonce=lease.data.nonce)

    async def renew_lease(self, lease: Lease, *, within: timedelta) -> None:
        """As the port says."""
        request = self._api.post(
            *_path(lease.app, lease.machine_id),
            "lease",
            action="lease.renew",
            identifier=lease.machine_id,
            repeat=Repeat.HARMLESS,
            body={"ttl": math.ceil(within.total_seconds())},
            facts=_facts(lease.app, lease.machine_id),
        )
        await self._api.send(replace(request, headers={NONCE_HEADER: lease.nonce}), lambda _answer: None)

    async def release_lease(self, lease: Lease) -> None:
        """As the port says."""
        request = self._api.delete(
            *_path(lease.app, lease.machine_id),
            "lease",
            action="lease.release",
            identifier=lease.machine_id,
            facts=_facts(lease.app, lease.machine_id),
        )
        try:
            await self._api.send(replace(request, headers={NONCE_HEADER: lease.nonce}), lambda _answer: None)
        except (FlyNotFoundError, FlyPreconditionError):  # it ended, or the machine did
            return

    async def restart_machine(self, lease: Lease) -> None:
        """As the port says."""
        request = self._api.post(
            *_path(lease.app, lease.machine_id),
            "restart",
            action="machine.restart",
            identifier=lease.machine_id,
            repeat=Repeat.NEVER,
            facts=_facts(lease.app, lease.machine_id),
        )
        request = replace(request, headers={NONCE_HEADER: lease.nonce}, is_long=True)
        await self._api.send(request, lambda _answer: None)

    async def machine_checks(self, app: AppName, machine_id: MachineId) -> tuple[MachineCheck, ...]:
        """As the port says."""
        request = self._api.get(
            *_path(app, machine_id), action=GET_MACHINE, identifier=machine_id, facts=_facts(app, machine_id)
        )
        rows = (await self._api.read(request, WireChecks)).checks
        return tuple(MachineCheck(name=row.name, status=row.status, output=row.output) for row in rows)

    async def wait_machine(self, app: AppName, machine_id: MachineId, state: str, within: timedelta) -> None:
        """As the port says."""
        await self._fly.wait_machine(app, machine_id, state, within)


def _path(app: AppName, machine_id: MachineId) -> tuple[str, ...]:
    return "apps", app, "machines", machine_id


def _facts(app: AppName, machine_id: MachineId) -> Mapping[str, str | int | None]:
    return {"app": app, "machine": machine_id}

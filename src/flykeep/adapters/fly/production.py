"""The Fly client of restores: the port `flykeep.ports.production.ProductionFly` over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from flykeep.adapters.fly import facts
from flykeep.adapters.fly.client import FlyClient
from flykeep.adapters.fly.control import NONCE_HEADER, FlyControl
from flykeep.adapters.fly.http import Repeat, Request
from flykeep.adapters.fly.saved_config import sendable
from flykeep.adapters.fly.scratch import FlyScratch
from flykeep.adapters.fly.wire import WireMachine, WireVolume
from flykeep.domain.errors import FlyNotFoundError, FlyPreconditionError
from flykeep.domain.fly import Machine, MachineCheck, Volume
from flykeep.domain.ids import AppName, MachineId, VolumeId
from flykeep.ports.clock import Clock
from flykeep.ports.fly import Lease
from flykeep.ports.production import ProductionMachine, ProductionVolume

_STARTED = frozenset({"started", "starting"})
_STOPPED = frozenset({"stopped", "stopping"})


class FlyProduction:
    """Changes production through a FlyClient's connections, at its pace; each change is sent once.

    What it reads, holds and removes it does as the clients of temporary resources and of restarts do.
    """

    def __init__(self, fly: FlyClient, *, clock: Clock) -> None:
        self._fly = fly
        self._api = fly.api
        self._scratch = FlyScratch(fly, clock=clock)
        self._control = FlyControl(fly)

    # -- volumes

    async def app_volumes(self, app: AppName) -> tuple[Volume, ...]:
        """As the port says."""
        return await self._scratch.app_volumes(app)

    async def volume(self, app: AppName, volume_id: VolumeId) -> Volume:
        return await self._fly.volume(app, volume_id)

    async def make_volume(self, spec: ProductionVolume) -> Volume:
        """Raises FlyCapacityError where the region has no room, FlyInvalidRequestError where it is too small."""
        request = self._api.post(
            "apps",
            spec.app,
            "volumes",
            action="volume.create",
            identifier=spec.app,
            repeat=Repeat.NEVER,
            body=_volume_body(spec),
            facts={"app": spec.app, "volume": spec.name, "snapshot": spec.snapshot_id},
        )
        return facts.volume_of(await self._api.read(request, WireVolume), app=spec.app)

    async def delete_volume(self, app: AppName, volume_id: VolumeId) -> None:
        """As the port says."""
        await self._scratch.delete_volume(app, volume_id)

    # -- machines

    async def machines(self, app: AppName) -> tuple[Machine, ...]:
        """As the port says."""
        return await self._fly.machines(app)

    async def machine(self, app: AppName, machine_id: MachineId) -> Machine:
        return await self._fly.machine(app, machine_id)

    async def make_machine(self, spec: ProductionMachine) -> Machine:
        """Raises FlyNameTakenError, or FlyCapacityError where the volume's host has no room for it."""
        request = self._api.post(
            "apps",
            spec.app,
            "machines",
            action="machine.create",
            identifier=spec.app,
            repeat=Repeat.NEVER,
            body=_machine_body(spec),
            facts={"app": spec.app, "machine": spec.name},
        )
        return facts.machine_of(await self._api.read(request, WireMachine), app=spec.app)

    async def update_machine(self, lease: Lease, config_json: str, *, is_launched: bool) -> Machine:
        """As the port says."""
        body = {"config": sendable(config_json), "skip_launch": not is_launched}
        request = self._change(lease, action="machine.update", body=body)
        return facts.machine_of(await self._api.read(request, WireMachine), app=lease.app)

    async def set_metadata(self, app: AppName, machine_id: MachineId, key: str, value: str | None) -> None:
        """As the port says; raises FlyNotFoundError for a machine that is not there, never for a key."""
        if value is not None:
            return await self._fly.set_machine_metadata(app, machine_id, key=key, value=value)
        request = self._api.delete(
            *_path(app, machine_id),
            "metadata",
            key,
            action="metadata.delete",
            identifier=machine_id,
            facts={"app": app, "machine": machine_id},
        )
        try:
            await self._api.send(request, lambda _answer: None)
        except FlyNotFoundError:
            await self._fly.machine_metadata(app, machine_id)

    async def start_machine(self, lease: Lease) -> None:
        """As the port says."""
        await self._move(lease, "start", ends_in=_STARTED)

    async def stop_machine(self, lease: Lease) -> None:
        """As the port says."""
        await self._move(lease, "stop", ends_in=_STOPPED)

    async def cordon_machine(self, lease: Lease) -> None:
        """As the port says."""
        await self._api.send(self._change(lease, "cordon", action="machine.cordon"), lambda _answer: None)

    async def uncordon_machine(self, lease: Lease) -> None:
        """As the port says."""
        await self._api.send(self._change(lease, "uncordon", action="machine.uncordon"), lambda _answer: None)

    async def destroy_machine(
        self, app: AppName, machine_id: MachineId, *, lease: Lease | None = None, is_forced: bool = True
    ) -> None:
        """As the port says."""
        request = self._api.delete(
            *_path(app, machine_id),
            action="machine.delete",
            identifier=machine_id,
            query={"force": "true"} if is_forced else {},
            facts={"app": app, "machine": machine_id},
        )
        if lease is not None:
            request = replace(request, headers={NONCE_HEADER: lease.nonce})
        try:
            await self._api.send(request, lambda _answer: None)
        except FlyNotFoundError:
            return

    async def machine_checks(self, app: AppName, machine_id: MachineId) -> tuple[MachineCheck, ...]:
        """As the port says."""
        return await self._control.machine_checks(app, machine_id)

    async def wait_for_state(self, app: AppName, machine_id: MachineId, state: str, *, within: timedelta) -> bool:
        """As the port says; raises FlyNotFoundError for a machine nobody finds for a minute."""
        return await self._scratch.wait_for_state(app, machine_id, state, within=within)

    # -- leases

    async def lease_holder(self, app: AppName, machine_id: MachineId) -> str | None:
        """As the port says."""
        return await self._control.lease_holder(app, machine_id)

    async def acquire_lease(self, app: AppName, machine_id: MachineId, *, within: timedelta, reason: str) -> Lease:
        """Raises FlyConflictError while somebody holds it; a lost answer leaves a hold that nobody can show."""
        return await self._control.acquire_lease(app, machine_id, within=within, reason=reason)

    async def release_lease(self, lease: Lease) -> None:
        """Let go; one that has ended already is fine."""
        await self._control.release_lease(lease)

    async def _move(self, lease: Lease, verb: str, *, ends_in: frozenset[str]) -> None:
        """Start or stop; a refusal is none where the machine is on its way there already."""
        request = replace(self._change(lease, verb, action=f"machine.{verb}"), is_long=True)
        try:
            await self._api.send(request, lambda _answer: None)
        except FlyPreconditionError:
            if (await self._fly.machine(lease.app, lease.machine_id)).state not in ends_in:
                raise

    def _change(self, lease: Lease, *verb: str, action: str, body: Mapping[str, object] | None = None) -> Request:
        request = self._api.post(
            *_path(lease.app, lease.machine_id),
            *verb,
            action=action,
            identifier=lease.machine_id,
            repeat=Repeat.NEVER,
            body=body,
            facts={"app": lease.app, "machine": lease.machine_id},
        )
        return replace(request, headers={NONCE_HEADER: lease.nonce})


def _path(app: AppName, machine_id: MachineId) -> tuple[str, ...]:
    return "apps", app, "machines", machine_id


def _volume_body(spec: ProductionVolume) -> Mapping[str, object]:
    """`compute` and `compute_image` place it where such a machine fits.

    Its zone need not be its own: the volume it replaces bears the same name and would take up one of the region's.
    """
    body: dict[str, object] = {
        "name": spec.name,
        "region": spec.region,
        "size_gb": spec.size_gb,
        "encrypted": True,
        "require_unique_zone": False,
        "auto_backup_enabled": spec.is_automatic_snapshot_on,
    }
    if spec.guest is not None:
        guest = spec.guest
        body["compute"] = {"cpu_kind": guest.cpu_kind, "cpus": guest.cpus, "memory_mb": guest.memory_mb}
    named = {
        "compute_image": spec.image,
        "snapshot_id": spec.snapshot_id,
        "snapshot_retention": spec.retention_days,
    }
    return body | {name: value for name, value in named.items() if value is not None}


def _machine_body(spec: ProductionMachine) -> Mapping[str, object]:
    body: dict[str, object] = {
        "name": spec.name,
        "region": spec.region,
        "config": sendable(spec.config_json),
        "skip_launch": not spec.is_launched,
    }
    if spec.is_cordoned:
        body["skip_service_registration"] = True  # as flyctl makes the machines of a bluegreen deploy
    version = spec.min_secrets_version
    return body | ({"min_secrets_version": version} if version is not None else {})

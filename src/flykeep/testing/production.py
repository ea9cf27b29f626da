"""Production at Fly in memory: the port `flykeep.ports.production.ProductionFly` without wires or waiting."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from flykeep.domain.errors import FlyCapacityError, FlyInvalidRequestError, FlyNameTakenError, FlyPreconditionError
from flykeep.domain.fly import Machine, MachineCheck, Volume
from flykeep.domain.ids import AppName, MachineId, VolumeId
from flykeep.ports.fly import Lease
from flykeep.ports.production import ProductionMachine, ProductionVolume
from flykeep.testing.memory_platform import RUNNING, Hold, MemoryPlatform, Server, port_call, refuse_sick

_POLL = timedelta(seconds=2)
_STARTABLE = frozenset({"created", "stopped", "suspended"})


class MemoryProduction(MemoryPlatform):
    """A platform in memory, changed as a restore does."""

    # -- volumes

    @port_call
    async def app_volumes(self, app: AppName) -> tuple[Volume, ...]:
        self.known(app)
        found = [disk for disk in self.disks.values() if disk.volume.app == app]
        return tuple(one for one in (self.looked_at(disk) for disk in found) if not one.is_leaving)

    @port_call
    async def volume(self, app: AppName, volume_id: VolumeId) -> Volume:
        return self.looked_at(self.disk(app, volume_id))

    @port_call
    async def make_volume(self, spec: ProductionVolume) -> Volume:
        return self.new_volume(spec)

    @port_call
    async def delete_volume(self, app: AppName, volume_id: VolumeId) -> None:
        disk = self.disks.get(volume_id)
        if disk is None or disk.volume.app != app:
            return
        if (holder := disk.volume.attached_machine_id) is not None:
            if self.is_gone(holder):
                disk.volume = replace(disk.volume, attached_machine_id=None)
            raise FlyPreconditionError("the volume is bound to a machine")
        disk.volume = replace(disk.volume, state="pending_destroy")

    # -- machines

    @port_call
    async def machines(self, app: AppName) -> tuple[Machine, ...]:
        self.known(app)
        found = [one for one in self.servers.values() if one.app == app and one.state != "destroyed"]
        for server in found:
            self.look(server)
        return tuple(server.facts() for server in found)

    @port_call
    async def machine(self, app: AppName, machine_id: MachineId) -> Machine:
        server = self.server(app, machine_id)
        facts = server.facts()
        self.look(server)
        return facts

    @port_call
    async def make_machine(self, spec: ProductionMachine) -> Machine:
        return self.new_machine(spec, json.loads(spec.config_json))

    @port_call
    async def update_machine(self, lease: Lease, config_json: str, *, is_launched: bool) -> Machine:
        server = self.held(lease)
        config: dict[str, Any] = json.loads(config_json)
        if replace(server, config=config).volume_id != server.volume_id:
            raise FlyInvalidRequestError("the attached volume can't be updated")
        server.config, server.version = config, server.version + 1
        if is_launched:
            self.begin(server)
        elif server.state != "created":
            server.state = "stopped"
        return server.facts()

    @port_call
    async def set_metadata(self, app: AppName, machine_id: MachineId, key: str, value: str | None) -> None:
        server = self.server(app, machine_id)
        refuse_sick(server)
        if value is None:
            server.metadata.pop(key, None)
        else:
            server.metadata[key] = value

    @port_call
    async def start_machine(self, lease: Lease) -> None:
        server = self.held(lease)
        if server.state in _STARTABLE:
            self.begin(server)
        elif server.state not in RUNNING:
            raise FlyPreconditionError(f"unable to start machine from current state: '{server.state}'")

    @port_call
    async def stop_machine(self, lease: Lease) -> None:
        self.held(lease).state = "stopped"

    @port_call
    async def cordon_machine(self, lease: Lease) -> None:
        self.held(lease).is_cordoned = True

    @port_call
    async def uncordon_machine(self, lease: Lease) -> None:
        self.held(lease).is_cordoned = False

    @port_call
    async def destroy_machine(
        self, app: AppName, machine_id: MachineId, *, lease: Lease | None = None, is_forced: bool = True
    ) -> None:
        server = self.servers.get(machine_id)
        if server is None or server.app != app or server.state == "destroyed":
            return
        self.require(server, lease.nonce if lease else None)
        if server.state in RUNNING and not is_forced:
            raise FlyPreconditionError(f"unable to destroy machine from current state: '{server.state}'")
        server.state, server.hold = "destroyed", None

    @port_call
    async def machine_checks(self, app: AppName, machine_id: MachineId) -> tuple[MachineCheck, ...]:
        server = self.server(app, machine_id)
        self.look(server)
        names = server.config.get("checks") or {}
        failing = server.failing_checks if server.state == "started" else set(names)
        return tuple(MachineCheck(name, "critical" if name in failing else "passing") for name in names)

    @port_call
    async def wait_for_state(self, app: AppName, machine_id: MachineId, state: str, *, within: timedelta) -> bool:
        ends_s = self.clock.monotonic() + within.total_seconds()
        while True:
            if state == "destroyed" and self.is_gone(machine_id):
                return True
            server = self.server(app, machine_id)
            self.look(server)
            if server.state == state:
                return True
            if self.clock.monotonic() >= ends_s:
                return False
            await self.clock.sleep(_POLL)

    # -- leases

    @port_call
    async def lease_holder(self, app: AppName, machine_id: MachineId) -> str | None:
        hold = self.hold(self.server(app, machine_id))
        return hold.owner if hold else None

    @port_call
    async def acquire_lease(self, app: AppName, machine_id: MachineId, *, within: timedelta, reason: str) -> Lease:
        assert reason
        server = self.server(app, machine_id)
        refuse_sick(server)
        self.require(server, None)
        server.hold = Hold(self.new("nonce"), "flykeep@tokens.fly.io", self.clock.now() + within)
        return Lease(app, machine_id, server.hold.nonce)

    @port_call
    async def release_lease(self, lease: Lease) -> None:
        server = self.servers.get(lease.machine_id)
        if server is None or (hold := self.hold(server)) is None:
            return
        if hold.nonce == lease.nonce:
            server.hold = None

    # -- making

    def new_volume(self, spec: ProductionVolume) -> Volume:
        """As Fly makes one; what `make_volume` does between its watchers."""
        self.known(spec.app)
        if spec.region in self.full_regions:
            raise FlyCapacityError("insufficient resources to create volume")
        shot = self.shot(spec.snapshot_id) if spec.snapshot_id else None
        if shot is not None and spec.size_gb < shot.size_gb:
            raise FlyInvalidRequestError(f"the volume is smaller than the snapshot ({shot.size_gb} GB)")
        disk = self.add_volume(spec.name, contents=shot.contents if shot else "", size_gb=spec.size_gb, app=spec.app)
        disk.looks_left = self.looks_until_usable if shot else 0
        disk.volume = replace(
            disk.volume,
            region=spec.region,
            state="restoring" if disk.looks_left else "created",
            is_automatic_snapshot_on=spec.is_automatic_snapshot_on,
            snapshot_retention_days=spec.retention_days or 5,
        )
        return disk.volume

    def new_machine(self, spec: ProductionMachine, config: dict[str, Any]) -> Machine:
        """As Fly makes one; what `make_machine` does between its watchers."""
        self.known(spec.app)
        there = [one for one in self.servers.values() if one.app == spec.app and one.state != "destroyed"]
        if self.are_names_unique and spec.name in {one.name for one in there}:
            raise FlyNameTakenError(f"a machine named {spec.name} exists")
        server = Server(MachineId(self.new("m")), spec.app, spec.name, spec.region, config)
        if server.volume_id is not None:
            self.claim(self.disk(spec.app, server.volume_id), server)
        server.failing_checks, server.is_cordoned = set(self.failing_checks), spec.is_cordoned
        self.servers[server.id] = server
        if spec.is_launched:
            self.begin(server)
        return server.facts()

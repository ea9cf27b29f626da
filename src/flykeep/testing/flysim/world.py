"""The state of the simulated Fly: what exists, who may see it, and the levers a test pulls."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from flykeep.ports.clock import Clock, IdSource
from flykeep.testing.flysim.buckets import RateLimits
from flykeep.testing.flysim.building import build_app
from flykeep.testing.flysim.model import (
    GIB,
    HIDDEN_VOLUME_STATES,
    App,
    JsonObject,
    Lease,
    Machine,
    MachineEvent,
    Refusal,
    Snapshot,
    TokenGrant,
    Volume,
)
from flykeep.testing.flysim.scenario import Scenario


class World:
    """A stateful Fly without its wires; time passes only on the clock given.

    Everything below "Levers" may be called by tests at any moment from the loop's thread.
    """

    def __init__(self, *, directory: Path, clock: Clock, ids: IdSource, scenario: Scenario, sees_mounts: bool) -> None:
        self.directory = directory
        self.clock = clock
        self.ids = ids
        self.scenario = scenario
        self.sees_mounts = sees_mounts
        self.apps: dict[str, App] = {}
        self.machines: dict[str, Machine] = {}
        self.volumes: dict[str, Volume] = {}
        self.tokens: list[TokenGrant] = []
        self.limits = RateLimits(clock)
        self.are_rate_limits_on = scenario.rate_limits
        self.machine_changed: list[Callable[[Machine], None]] = []
        self.unprotected: set[tuple[str, str]] = set()
        self._connections: list[sqlite3.Connection] = []
        self._addresses = 0
        self._sequence = 0
        for name in ("volumes", "snapshots", "machines"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        for spec in scenario.apps:
            build_app(self, spec)

    def keep_open(self, connection: sqlite3.Connection) -> None:
        """Hold a seeded app's database open, as the app itself would."""
        self._connections.append(connection)

    def close(self) -> None:
        """Close the databases that the seeded apps hold open."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    # -- names and numbers

    def now(self) -> datetime:
        """The instant on the simulator's clock."""
        return self.clock.now()

    def new_id(self, prefix: str, length: int = 16) -> str:
        """A fresh id; unique because the sequence number is part of it."""
        self._sequence += 1
        tail = f"{self._sequence:04x}"
        return prefix + self.ids.token()[: length - len(tail)] + tail

    def new_address(self) -> str:
        """The next loopback address of its own; a machine's "private network"."""
        self._addresses += 1
        return f"127.42.{self._addresses // 250}.{self._addresses % 250 + 1}"

    # -- looking things up, with Fly's refusals

    def app(self, name: str, grant: TokenGrant) -> App:
        """An app the token may see: 404 where there is none, 403 where it is not the token's."""
        app = self.apps.get(name)
        if app is None:
            raise Refusal(404, "app not found")
        if app.org != grant.org or (grant.apps and name not in grant.apps):
            raise Refusal(403, "unauthorized")
        return app

    def machine(self, app: str, machine_id: str) -> Machine:
        """A machine of an app; 404 otherwise."""
        machine = self.machines.get(machine_id)
        if machine is None or machine.app != app:
            raise Refusal(404, "machine not found")
        return machine

    def volume(self, app: str, volume_id: str) -> Volume:
        """A volume of an app, soft-deleted ones too; 404 otherwise."""
        volume = self.volumes.get(volume_id)
        if volume is None or volume.app != app or volume.state == "destroyed":
            raise Refusal(404, "volume not found")
        return volume

    def machines_of(self, app: str) -> list[Machine]:
        """An app's machines, destroyed ones too."""
        return [machine for machine in self.machines.values() if machine.app == app]

    def volumes_of(self, app: str) -> list[Volume]:
        """An app's volumes, soft-deleted ones too."""
        return [volume for volume in self.volumes.values() if volume.app == app and volume.state != "destroyed"]

    def find_volume(self, app: str, name: str) -> Volume:
        """The live volume of that name; for tests. Raises `KeyError` where there is none or more than one."""
        found = [v for v in self.volumes_of(app) if v.name == name and v.state not in HIDDEN_VOLUME_STATES]
        if len(found) != 1:
            raise KeyError(f"{app}/{name}: {len(found)} live volumes")
        return found[0]

    def find_machine(self, app: str) -> Machine:
        """The one machine of an app that is not destroyed; for tests."""
        found = [machine for machine in self.machines_of(app) if machine.state != "destroyed"]
        if len(found) != 1:
            raise KeyError(f"{app}: {len(found)} machines")
        return found[0]

    # -- changes every part of the simulator shares

    def add_grant(
        self, *, apps: frozenset[str] = frozenset(), is_read_only: bool = False, lifetime: timedelta | None = None
    ) -> TokenGrant:
        """A new token of two macaroons; `lifetime` counts from now."""
        grant = TokenGrant(
            macaroons=(self.new_id("fm2_lJPE", 64), self.new_id("fm2_lJPF", 64)),
            org=self.scenario.org,
            apps=apps,
            is_read_only=is_read_only,
            expires_at=self.now() + lifetime if lifetime else None,
        )
        self.tokens.append(grant)
        return grant

    def record_event(self, machine: Machine, kind: str, status: str, *, request: JsonObject | None = None) -> None:
        """Add to a machine's history and tell whoever watches machines."""
        machine.updated_at = self.now()
        event = MachineEvent(self.new_id("01", 26).upper(), kind, status, "flyd", self.now(), request)
        machine.events.insert(0, event)
        self.tell(machine)

    def tell(self, machine: Machine) -> None:
        """Tell whoever watches machines that one changed."""
        for listener in self.machine_changed:
            listener(machine)

    def copy_tree(self, source: Path, target: Path) -> None:
        """Copy a directory with owners, times, links and special files; `target` is replaced."""
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        subprocess.run(
            ["cp", "-a", "--reflink=auto", f"{source}/.", f"{target}/"], check=True, capture_output=True, timeout=300
        )

    def snapshot_directory(self, snapshot_id: str) -> Path:
        """Where a snapshot's real copy lies."""
        return self.directory / "snapshots" / snapshot_id

    def used_bytes(self, volume: Volume) -> int:
        """Bytes of regular files on a volume."""
        return sum(
            path.stat().st_size for path in volume.directory.rglob("*") if path.is_file() and not path.is_symlink()
        )

    # -- levers for tests

    def age_snapshots(self, volume: Volume, by: timedelta) -> None:
        """Make all snapshots of a volume older."""
        for snapshot in volume.snapshots:
            snapshot.requested_at -= by

    def add_snapshot(
        self,
        volume: Volume,
        *,
        age: timedelta,
        status: str = "created",
        size_bytes: int = GIB // 256,
        same_as: Snapshot | None = None,
    ) -> Snapshot:
        """Add a settled snapshot with a copy of the volume as it is now, or with the copy that `same_as` has."""
        snapshot = Snapshot(
            id=self.new_id("vs_", 20),
            volume_id=volume.id,
            requested_at=self.now() - age,
            size_bytes=size_bytes,
            volume_size_bytes=volume.size_gb * GIB,
            retention_days=volume.snapshot_retention,
            digest=self.new_id("", 32) + "-1",
            settled_status=status,
        )
        volume.snapshots.append(snapshot)
        if same_as is not None:
            self.snapshot_directory(snapshot.id).symlink_to(same_as.id)
        else:
            self.copy_tree(volume.directory, self.snapshot_directory(snapshot.id))
        return snapshot

    def settle_snapshots(self, volume: Volume, status: str = "created") -> None:
        """End every pending snapshot of a volume now, stuck ones too."""
        for snapshot in volume.snapshots:
            if snapshot.settled_status is None:
                snapshot.settled_status = status

    def migrate(self, volume: Volume) -> Volume:
        """Move a volume's machine to another host: new volume id without snapshots, new address, same machine id."""
        moved = Volume(
            id=self.new_id("vol_", 20),
            app=volume.app,
            name=volume.name,
            region=volume.region,
            size_gb=volume.size_gb,
            created_at=self.now(),
            updated_at=self.now(),
            directory=Path(),
            zone="c3d4",
            is_auto_backup_enabled=volume.is_auto_backup_enabled,
            snapshot_retention=volume.snapshot_retention,
            attached_machine_id=volume.attached_machine_id,
        )
        moved.directory = self.directory / "volumes" / moved.id
        self.copy_tree(volume.directory, moved.directory)
        self.volumes[moved.id] = moved
        volume.state, volume.attached_machine_id, volume.updated_at = "pending_destroy", None, self.now()
        machine = self.machines.get(moved.attached_machine_id or "")
        if machine is not None:
            self._move_machine(machine, moved)
        return moved

    def _move_machine(self, machine: Machine, volume: Volume) -> None:
        was_started = machine.state == "started"
        machine.state = "stopped"
        self.tell(machine)
        machine.config["mounts"][0]["volume"] = volume.id
        if not self.sees_mounts:
            machine.config["mounts"][0]["path"] = str(volume.directory)
        machine.private_ip = self.new_address()
        machine.host_key_generation += 1
        machine.state = "started" if was_started else machine.state
        self.record_event(machine, "start", machine.state)

    def set_host_status(self, app: str, status: str) -> None:
        """Let the hosts of an app's machines and volumes be `ok`, `unknown` or `unreachable`."""
        for volume in self.volumes_of(app):
            volume.host_status, volume.updated_at = status, self.now()
        for machine in self.machines_of(app):
            machine.host_status, machine.updated_at = status, self.now()
            self.tell(machine)

    def lose_host(self, machine: Machine) -> None:
        """Let one machine's host, and the volume on it, answer no more; the machine seems to go on."""
        self._set_host(machine, "unreachable")

    def return_host(self, machine: Machine) -> None:
        """Let a lost host come back: it starts the machine that ran on it, whatever was wanted meanwhile."""
        self._set_host(machine, "ok")
        if machine.state == "started":
            self.start_machine(machine)

    def _set_host(self, machine: Machine, status: str) -> None:
        machine.host_status, machine.updated_at = status, self.now()
        volume = self.volumes.get(machine.volume_id or "")
        if volume is not None:
            volume.host_status, volume.updated_at = status, self.now()
        self.tell(machine)

    def hold_lease(
        self, machine: Machine, *, duration: timedelta = timedelta(minutes=5), owner: str = "deploy"
    ) -> Lease:
        """Let somebody else hold a machine, as a running deploy does."""
        lease = Lease(
            nonce=self.new_id("", 16),
            owner=f"{owner}@tokens.fly.io",
            description="held by a test",
            expires_at=self.now() + duration,
            version=machine.version,
        )
        machine.lease = lease
        return lease

    def release_lease(self, machine: Machine) -> None:
        """End a hold."""
        machine.lease = None

    def stop_machine(self, machine: Machine) -> None:
        """Stop a machine at once; its SSH server goes away."""
        machine.state = "stopped"
        self.record_event(machine, "stop", "stopped")

    def start_machine(self, machine: Machine) -> None:
        """Start a machine at once."""
        machine.state = "started"
        self.record_event(machine, "start", "started")

    def rotate_host_key(self, machine: Machine) -> None:
        """Let a machine's SSH server present another host key from now on."""
        machine.host_key_generation += 1
        self.tell(machine)

    def remove_volume(self, volume: Volume) -> None:
        """Let a volume vanish without trace, as after the soft-delete period."""
        volume.state = "destroyed"

    def remove_app(self, app: str) -> None:
        """Delete an app with its machines, volumes and snapshots."""
        for machine in self.machines_of(app):
            machine.state = "destroyed"
            self.tell(machine)
            del self.machines[machine.id]
        for volume in self.volumes_of(app):
            del self.volumes[volume.id]
        del self.apps[app]

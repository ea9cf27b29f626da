"""What temporary resources need of Fly: volumes from snapshots, one-shot worker machines, and their end.

Everything made through this port carries the run's id in its name and is journalled before it is asked for. Errors: the
`fly.*` family; FlyCapacityError where a region or guest size has no room.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from flykeep.domain.fly import CommandResult, Machine, Volume
from flykeep.domain.ids import AppName, MachineId, RunId, SnapshotId, VolumeId

WORKER_GROUP = "flykeep_worker"
"""`fly_process_group` of a worker: `fly deploy` leaves machines of a foreign group alone."""
OWNER_KEY = "flykeep_run"
"""Metadata key that holds the id of the run a temporary machine belongs to."""


@dataclass(frozen=True, slots=True)
class Guest:
    cpu_kind: str  # "shared" | "performance"
    cpus: int
    memory_mb: int


@dataclass(frozen=True, slots=True)
class ScratchVolume:
    """A volume to make: own name, no automatic snapshots, any zone. `snapshot_id` None makes an empty one."""

    app: AppName
    name: str
    region: str
    size_gb: int
    snapshot_id: SnapshotId | None
    guest: Guest
    image: str


@dataclass(frozen=True, slots=True)
class WorkerMachine:
    """A machine to make: no secrets, no services, no DNS name, no restart, no deploy metadata."""

    app: AppName
    name: str
    region: str
    image: str
    guest: Guest
    volume_id: VolumeId | None
    mount: str
    command: tuple[str, ...]
    run_id: RunId


class ScratchFly(Protocol):
    """A create is never repeated blindly: on an unknown outcome the adapter looks for the name first."""

    async def create_volume(self, spec: ScratchVolume) -> Volume: ...

    async def app_volumes(self, app: AppName) -> tuple[Volume, ...]:
        """Those that exist; what Fly is about to destroy is left out."""
        ...

    async def volume(self, app: AppName, volume_id: VolumeId) -> Volume: ...

    async def delete_volume(self, app: AppName, volume_id: VolumeId) -> None:
        """Already gone is fine. Raises FlyPreconditionError while it is attached."""
        ...

    async def create_machine(self, spec: WorkerMachine) -> Machine: ...

    async def machines(self, app: AppName) -> tuple[Machine, ...]: ...

    async def wait_for_state(self, app: AppName, machine_id: MachineId, state: str, *, within: timedelta) -> bool:
        """False when `within` passed first; waits longer than Fly's 60 s are made of several."""
        ...

    async def destroy_machine(self, app: AppName, machine_id: MachineId) -> None:
        """By force; already gone is fine."""
        ...

    async def execute_with_input(
        self, app: AppName, machine_id: MachineId, command: tuple[str, ...], *, stdin: str, within: timedelta
    ) -> CommandResult:
        """As `CommandRunner.execute`, with `stdin` (at most 60 kB) given to the command; never logged."""
        ...

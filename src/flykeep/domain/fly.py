"""What flykeep knows of Fly's things: facts as read, unknowns kept as unknown.

Source: Fly's Machines API (apps, machines, volumes and snapshots resources).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from flykeep.domain.ids import AppName, MachineId, SnapshotId, VolumeId, VolumeName


class HostStatus(StrEnum):
    """The state of the host a machine or volume lives on; anything Fly does not say is UNKNOWN."""

    OK = "ok"
    UNKNOWN = "unknown"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class App:
    name: AppName
    status: str
    network: str | None = None
    org: str | None = None  # its slug


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine; `config_json` is the complete configuration as canonical JSON, or None where Fly did not give one.

    `image` names what runs by its digest, None where Fly did not tell it.
    """

    id: MachineId
    app: AppName
    name: str
    state: str
    region: str
    private_ip: str | None
    host_status: HostStatus
    instance_id: str | None = None
    config_json: str | None = field(default=None, repr=False)
    mounts: tuple[Mount, ...] = ()
    image: str | None = None

    @property
    def is_started(self) -> bool:
        return self.state == "started"


@dataclass(frozen=True, slots=True)
class Mount:
    volume_id: VolumeId
    path: str


# Machines in these states are on their way out or were put elsewhere; listings may still hold them.
GONE_MACHINE_STATES = frozenset({"destroying", "destroyed", "replaced", "migrated"})


@dataclass(frozen=True, slots=True)
class MachineCheck:
    """One health check of a machine as Fly last saw it; `status` is passing, warning or critical."""

    name: str
    status: str
    output: str = ""

    @property
    def is_passing(self) -> bool:
        return self.status == "passing"


# Volumes in these states are on their way out; Fly's own tool hides them from listings.
GONE_VOLUME_STATES = frozenset(
    {"scheduling_destroy", "fork_cleanup", "waiting_for_detach", "pending_destroy", "destroying", "destroyed"}
)


@dataclass(frozen=True, slots=True)
class Volume:
    id: VolumeId
    app: AppName
    name: VolumeName
    state: str
    region: str
    size_gb: int
    attached_machine_id: MachineId | None
    created_at: datetime
    host_status: HostStatus
    is_automatic_snapshot_on: bool | None
    snapshot_retention_days: int | None
    used_bytes: int | None = None
    total_bytes: int | None = None

    @property
    def is_leaving(self) -> bool:
        """Destroyed or being destroyed; a soft-deleted volume still appears in Fly's listings."""
        return self.state in GONE_VOLUME_STATES


SNAPSHOT_DONE = "created"
SNAPSHOT_PENDING = frozenset({"waiting", "running", "prepare", "pending"})


@dataclass(frozen=True, slots=True)
class VolumeSnapshot:
    """A snapshot as listed; rows that are not done may lack an id and an instant.

    A row without any `status` comes from an older API and is done once it has an id, an instant and a digest.
    """

    id: SnapshotId | None
    status: str
    created_at: datetime | None
    size_bytes: int
    volume_size_bytes: int
    retention_days: int | None
    digest: str | None = None

    @property
    def is_restorable(self) -> bool:
        """Only `created` counts; every other word, known or not, is not a backup."""
        return self.status == SNAPSHOT_DONE and self.id is not None and self.created_at is not None

    @property
    def is_pending(self) -> bool:
        return self.status in SNAPSHOT_PENDING


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything the organization holds, as of one reading.

    `incomplete_regions` non-empty means that things missing from the lists may still exist.
    """

    read_at: datetime
    machines: tuple[Machine, ...]
    volumes: tuple[Volume, ...]
    incomplete_regions: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        return not self.incomplete_regions


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """Fly's answer to a request for a snapshot; `graph_id` is the snapshot's id in the list, where Fly gave it."""

    graph_id: SnapshotId | None
    state: str


@dataclass(frozen=True, slots=True)
class CommandResult:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def is_success(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What a token may see; `apps` empty means the whole organization."""

    org_slug: str
    apps: tuple[str, ...] = ()

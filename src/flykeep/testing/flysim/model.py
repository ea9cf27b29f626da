"""What the simulated Fly is made of."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

JsonObject = dict[str, Any]
"""A JSON document of Fly's own shape, where the simulator only passes it on."""

HIDDEN_VOLUME_STATES = frozenset({"scheduling_destroy", "pending_destroy", "destroyed"})
GIB = 1024**3


class Refusal(Exception):  # noqa: N818 - it is an answer, not a defect
    """The platform says no: an HTTP status and the text Fly would send."""

    def __init__(self, status: int, error: str, *, code: str | None = None, raw_body: str | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.code = code
        self.raw_body = raw_body

    def body(self) -> JsonObject:
        """The error document as Fly words it."""
        return {"error": self.error} | ({"status": self.code} if self.code else {})


@dataclass(slots=True)
class Snapshot:
    """One snapshot; its status follows from polls and time until it is settled."""

    id: str
    volume_id: str
    requested_at: datetime
    size_bytes: int
    volume_size_bytes: int
    retention_days: int
    digest: str
    settled_status: str | None = None
    is_stuck: bool = False
    polls: int = 0
    final_status: str = "created"


@dataclass(slots=True)
class Volume:
    """One volume; `directory` on disk holds its contents."""

    id: str
    app: str
    name: str
    region: str
    size_gb: int
    created_at: datetime
    updated_at: datetime
    directory: Path
    zone: str = "a1b2"
    state: str = "created"
    host_status: str = "ok"
    is_encrypted: bool = True
    is_auto_backup_enabled: bool = True
    snapshot_retention: int = 5
    fstype: str = "ext4"
    attached_machine_id: str | None = None
    busy_polls: int = 0
    is_detach_lagging: bool = False
    snapshots: list[Snapshot] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lease:
    """An exclusive hold on a machine."""

    nonce: str = field(repr=False)
    owner: str
    description: str
    expires_at: datetime
    version: str


@dataclass(frozen=True, slots=True)
class MachineEvent:
    """One entry of a machine's history."""

    id: str
    type: str
    status: str
    source: str
    at: datetime
    request: JsonObject | None = None


@dataclass(slots=True)
class Machine:
    """One machine, its configuration and what runs on it."""

    id: str
    app: str
    name: str
    region: str
    config: JsonObject
    private_ip: str
    created_at: datetime
    updated_at: datetime
    version: str
    state: str = "created"
    host_status: str = "ok"
    lease: Lease | None = None
    events: list[MachineEvent] = field(default_factory=list)
    versions: list[tuple[str, JsonObject]] = field(default_factory=list)
    hidden_gets: int = 0
    is_cordoned: bool = False
    is_without_secrets: bool = False
    host_key_generation: int = 0
    main_process: asyncio.Task[None] | None = None
    check_polls: int = 0
    failing_checks: set[str] = field(default_factory=set)

    @property
    def volume_id(self) -> str | None:
        """The volume it mounts; Fly allows one."""
        mounts = self.config.get("mounts") or []
        return str(mounts[0]["volume"]) if mounts and mounts[0].get("volume") else None

    @property
    def mount_path(self) -> str | None:
        """Where its volume is seen."""
        mounts = self.config.get("mounts") or []
        return str(mounts[0]["path"]) if mounts else None


@dataclass(slots=True)
class Secret:
    """A secret's name and digest; the value is kept only to hand it to machines."""

    name: str
    digest: str
    created_at: datetime
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an app; `kind` is the type it was asked for by."""

    ip: str
    kind: str
    region: str
    created_at: datetime


@dataclass(slots=True)
class App:
    """One app."""

    name: str
    org: str
    number: int
    network: str
    created_at: datetime
    status: str = "deployed"
    secrets: dict[str, Secret] = field(default_factory=dict)
    secrets_version: int = 0
    addresses: list[Address] = field(default_factory=list)
    next_address: int = 1
    certificates: dict[str, datetime] = field(default_factory=dict)  # when each host name was asked for
    hidden_gets: int = 0


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What one token may do; `apps` empty means the whole organization."""

    macaroons: tuple[str, ...] = field(repr=False)
    org: str
    apps: frozenset[str] = frozenset()
    is_read_only: bool = False
    expires_at: datetime | None = None

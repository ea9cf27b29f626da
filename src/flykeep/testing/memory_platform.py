"""A Fly in memory, as far as restores meet it: what exists, how it changes, and the levers a test pulls.

Each call of a port passes through `watchers` before and after its effect: there a test counts, looks at the state, or
lets the process die. `faults` raise Fly's errors at the same two places. What a volume holds is a word in `contents`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

from flykeep.domain.errors import (
    FlyCapacityError,
    FlyConflictError,
    FlyInvalidRequestError,
    FlyNotFoundError,
    FlyPreconditionError,
    FlyUnavailableError,
)
from flykeep.domain.fly import SNAPSHOT_DONE, HostStatus, Machine, Mount, Volume
from flykeep.domain.ids import AppName, MachineId, SnapshotId, VolumeId, VolumeName
from flykeep.ports.clock import Clock
from flykeep.ports.fly import Lease

P = ParamSpec("P")
R = TypeVar("R")
PlatformT = TypeVar("PlatformT", bound="MemoryPlatform")
RUNNING = frozenset({"started", "starting"})


@dataclass(frozen=True, slots=True)
class MemoryFault:
    """An error at the calls of one name (or of all: `*`), before or after their effect; `times` 0 is for ever."""

    call: str
    error: Exception
    is_after: bool = False
    skip: int = 0
    times: int = 1


@dataclass(slots=True)
class Disk:
    """A volume and what it holds."""

    volume: Volume
    contents: str = ""
    looks_left: int = 0
    is_lagging: bool = False


@dataclass(slots=True)
class MemorySnapshot:
    volume_id: VolumeId
    contents: str
    taken_at: datetime
    size_gb: int
    status: str = SNAPSHOT_DONE


@dataclass(slots=True)
class Hold:
    """A lease as Fly keeps it."""

    nonce: str = field(repr=False)
    owner: str
    ends_at: datetime


@dataclass(slots=True)
class Server:
    """A machine; its metadata stands in its configuration."""

    id: MachineId
    app: AppName
    name: str
    region: str
    config: dict[str, Any]
    state: str = "created"
    host_status: HostStatus = HostStatus.OK
    version: int = 1
    hold: Hold | None = None
    is_cordoned: bool = False
    failing_checks: set[str] = field(default_factory=set)
    looks_left: int = 0

    @property
    def volume_id(self) -> VolumeId | None:
        mounts = self.config.get("mounts") or []
        return VolumeId(mounts[0]["volume"]) if mounts else None

    @property
    def metadata(self) -> dict[str, str]:
        found: dict[str, str] = self.config.setdefault("metadata", {})
        return found

    def facts(self) -> Machine:
        """As the port shows it; a host that does not answer tells no configuration."""
        is_told = self.host_status is HostStatus.OK
        mounts = self.config.get("mounts") or [] if is_told else []
        return Machine(
            id=self.id,
            app=self.app,
            name=self.name,
            state=self.state,
            region=self.region,
            private_ip="fdaa::3",
            host_status=self.host_status,
            instance_id=str(self.version),
            config_json=json.dumps(self.config, sort_keys=True, separators=(",", ":")) if is_told else None,
            mounts=tuple(Mount(VolumeId(row["volume"]), row["path"]) for row in mounts),
        )


def port_call(
    work: Callable[Concatenate[PlatformT, P], Awaitable[R]],
) -> Callable[Concatenate[PlatformT, P], Coroutine[Any, Any, R]]:
    """A call of the port: passes through the watchers and faults before and after its effect."""

    async def called(self: PlatformT, /, *given: P.args, **named: P.kwargs) -> R:
        self.pass_by(work.__name__, is_after=False)
        answer = await work(self, *given, **named)
        self.pass_by(work.__name__, is_after=True)
        return answer

    functools.update_wrapper(called, work)
    return called


@dataclass
class MemoryPlatform:
    """`looks_until_*` are how often something is looked at before it is there; nothing else takes time."""

    clock: Clock
    app_names: set[str] = field(default_factory=lambda: {"my-crocbot"})
    servers: dict[str, Server] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    shots: dict[str, MemorySnapshot] = field(default_factory=dict)
    region: str = "fra"
    are_names_unique: bool = False
    full_regions: set[str] = field(default_factory=set)  # no room for a volume
    is_host_full: bool = False  # no room for a machine beside its volume
    looks_until_usable: int = 1
    looks_until_started: int = 1
    failing_checks: set[str] = field(default_factory=set)  # of machines made from now on
    watchers: list[Callable[[str, bool], None]] = field(default_factory=list)
    faults: list[MemoryFault] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    _seen: dict[int, int] = field(default_factory=dict)
    _count: int = 0

    # -- levers

    def add_volume(self, name: str, *, contents: str, size_gb: int = 1, app: str = "my-crocbot") -> Disk:
        """A volume that nobody has mounted yet."""
        self.app_names.add(app)
        made = Volume(
            id=VolumeId(self.new("vol_")),
            app=AppName(app),
            name=VolumeName(name),
            state="created",
            region=self.region,
            size_gb=size_gb,
            attached_machine_id=None,
            created_at=self.clock.now(),
            host_status=HostStatus.OK,
            is_automatic_snapshot_on=True,
            snapshot_retention_days=5,
        )
        self.disks[made.id] = Disk(made, contents)
        return self.disks[made.id]

    def add_machine(self, name: str, disk: Disk, *, state: str = "started", **config: Any) -> Server:
        """A machine of Launch's on that volume; `config` adds to or replaces parts of its configuration."""
        document: dict[str, Any] = {
            "image": "registry.fly.io/app@sha256:00",
            "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512},
            "metadata": {"fly_platform_version": "v2", "fly_process_group": "app"},
            "mounts": [{"volume": disk.volume.id, "path": "/data", "name": disk.volume.name}],
        }
        made = Server(
            MachineId(self.new("m")), disk.volume.app, name, disk.volume.region, document | config, state=state
        )
        self.servers[made.id] = made
        disk.volume = replace(disk.volume, attached_machine_id=made.id)
        return made

    def add_snapshot(self, disk: Disk, *, age: timedelta = timedelta(hours=1)) -> SnapshotId:
        """A finished snapshot of what the volume holds now."""
        made = SnapshotId(self.new("vs_"))
        taken_at = self.clock.now() - age
        self.shots[made] = MemorySnapshot(disk.volume.id, disk.contents, taken_at, disk.volume.size_gb)
        return made

    def hold_by_others(self, server: Server, *, within: timedelta = timedelta(minutes=5)) -> None:
        """Let a deploy hold a machine."""
        server.hold = Hold(self.new("nonce"), "deploy@tokens.fly.io", self.clock.now() + within)

    def set_host(self, server: Server, status: HostStatus) -> None:
        """Let a machine's host, and the volume on it, answer no more; one that comes back starts what ran on it."""
        server.host_status = status
        if (disk := self.disks.get(server.volume_id or "")) is not None:
            disk.volume = replace(disk.volume, host_status=status)
        if status is HostStatus.OK and server.state in RUNNING:
            server.state = "started"

    # -- what calls share

    def pass_by(self, call: str, *, is_after: bool) -> None:
        """Tell the watchers, then raise the fault that is due."""
        if not is_after:
            self.calls.append(call)
        for watcher in self.watchers:
            watcher(call, is_after)
        for number, fault in enumerate(self.faults):
            if fault.call not in {call, "*"} or fault.is_after != is_after:
                continue
            seen = self._seen[number] = self._seen.get(number, 0) + 1
            if seen > fault.skip and (fault.times == 0 or seen <= fault.skip + fault.times):
                raise fault.error

    def new(self, prefix: str) -> str:
        """A fresh id."""
        self._count += 1
        return f"{prefix}{self._count}"

    def known(self, app: str) -> None:
        """Refuse an app that is not there."""
        if app not in self.app_names:
            raise FlyNotFoundError("no such app")

    def server(self, app: str, machine_id: str) -> Server:
        """A machine of an app, a destroyed one too."""
        server = self.servers.get(machine_id)
        if server is None or server.app != app:
            raise FlyNotFoundError("no such machine")
        return server

    def disk(self, app: str, volume_id: str) -> Disk:
        """A volume of an app."""
        disk = self.disks.get(volume_id)
        if disk is None or disk.volume.app != app:
            raise FlyNotFoundError("no such volume")
        return disk

    def shot(self, snapshot_id: str) -> MemorySnapshot:
        """A snapshot that can be restored."""
        shot = self.shots.get(snapshot_id)
        if shot is None:
            raise FlyNotFoundError("no such snapshot")
        if shot.status != SNAPSHOT_DONE:
            raise FlyInvalidRequestError("the snapshot is not ready to be restored")
        return shot

    def is_gone(self, machine_id: str) -> bool:
        """Whether a machine is destroyed or was never there."""
        server = self.servers.get(machine_id)
        return server is None or server.state == "destroyed"

    def claim(self, disk: Disk, server: Server) -> None:
        """Give a volume to a new machine."""
        if disk.volume.attached_machine_id is not None:
            raise FlyPreconditionError("volume already claimed")
        if self.is_host_full or disk.volume.host_status is not HostStatus.OK:
            raise FlyCapacityError(f"insufficient resources to create new machine with volume {disk.volume.id}")
        server.region = disk.volume.region
        disk.volume = replace(disk.volume, attached_machine_id=server.id)

    def begin(self, server: Server) -> None:
        """Let a machine start."""
        server.state, server.looks_left = "starting", self.looks_until_started
        self.look(server)

    def look(self, server: Server) -> None:
        """One look at a machine: what starts comes nearer to it, unless its volume is not there yet."""
        if server.state != "starting":
            return
        disk = self.disks.get(server.volume_id or "")
        if disk is not None and self.looked_at(disk).state != "created":
            return
        server.looks_left -= 1
        if server.looks_left < 0:
            server.state = "started"

    def looked_at(self, disk: Disk) -> Volume:
        """One look at a volume: what restores comes nearer to it; one whose machine is gone lets go with a lag."""
        if disk.volume.state == "restoring":
            disk.looks_left -= 1
            if disk.looks_left < 0:
                disk.volume = replace(disk.volume, state="created")
        if disk.volume.attached_machine_id is not None and self.is_gone(disk.volume.attached_machine_id):
            if disk.is_lagging:
                disk.volume = replace(disk.volume, attached_machine_id=None)
            disk.is_lagging = not disk.is_lagging
        return disk.volume

    def hold(self, server: Server) -> Hold | None:
        """The lease that holds now; an expired one is gone."""
        if server.hold is not None and server.hold.ends_at <= self.clock.now():
            server.hold = None
        return server.hold

    def held(self, lease: Lease) -> Server:
        """The machine that a lease holds, to be changed by its holder."""
        server = self.server(lease.app, lease.machine_id)
        self.require(server, lease.nonce)
        refuse_sick(server)
        if server.state == "destroyed":
            raise FlyPreconditionError("machine is destroyed")
        return server

    def require(self, server: Server, nonce: str | None) -> None:
        """Refuse who does not hold a machine that is held."""
        hold = self.hold(server)
        if hold is None and nonce is not None:
            raise FlyPreconditionError("machine lease nonce does not match")
        if hold is not None and hold.nonce != nonce:
            raise FlyConflictError(f"lease currently held by {hold.owner}")


def refuse_sick(server: Server) -> None:
    """Refuse what only a machine's own host can do."""
    if server.host_status is HostStatus.UNREACHABLE:
        raise FlyUnavailableError("host is unreachable")

"""A Fly in memory that makes temporary volumes and machines, and a process that can die at any call."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from flykeep.domain.errors import (
    FlyCapacityError,
    FlyInvalidRequestError,
    FlyNotFoundError,
    FlyPreconditionError,
    FlyUnavailableError,
)
from flykeep.domain.fly import CommandResult, HostStatus, Machine, Mount, SnapshotRequest, Volume, VolumeSnapshot
from flykeep.domain.ids import AppName, MachineId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.scratch import ScratchRule
from flykeep.jobs.export import ExportJob
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.jobs.scratch import Scratch, ScratchLimits
from flykeep.jobs.scratch_sweep import ScratchSweep
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.jobs.snapshot_source import SnapshotSource
from flykeep.ports.clock import Clock
from flykeep.ports.scratch import OWNER_KEY, WORKER_GROUP, ScratchVolume, WorkerMachine
from flykeep.ports.worker import ExportOrder, ExportResult, Progress
from tests.integration.jobs.parts import MemoryFly, MemoryWorkers, Parts
from tests.unit.domain.builders import volume

APP = AppName("flykeep-scratch")
_LIMITS = ScratchLimits(place=timedelta(minutes=1))
RULE = ScratchRule(APP, max_volume_gb=100, max_workers=2, regions=("ams",))


class SnapshotFly(MemoryFly):
    """The production app, with snapshots; `changes` are the requests that changed it."""

    def __init__(self, clock: Clock, *, ages: tuple[timedelta, ...] = (timedelta(hours=2),)) -> None:
        super().__init__()
        self.clock = clock
        self.rows = tuple(self.row(f"vs_{number}", age) for number, age in enumerate(ages))
        self.changes: list[str] = []

    def row(self, snapshot_id: str, age: timedelta) -> VolumeSnapshot:
        taken_at = self.clock.now() - age
        return VolumeSnapshot(SnapshotId(snapshot_id), "created", taken_at, 1, 3 << 30, 5)

    async def snapshots(self, _app: str, _volume_id: str) -> tuple[VolumeSnapshot, ...]:
        return self.rows

    async def request_snapshot(self, _app: str, _volume_id: str) -> SnapshotRequest:
        self.changes.append("request_snapshot")
        self.rows = (self.row("vs_taken", timedelta(0)), *self.rows)
        return SnapshotRequest(SnapshotId("vs_taken"), "created")

    async def execute(self, app: str, machine: str, command: tuple[str, ...], *, within: timedelta) -> CommandResult:
        self.changes.append("execute")
        return await super().execute(app, machine, command, within=within)


@dataclass
class ScratchWorld:
    """ports.scratch.ScratchFly in memory. `no_room` are (region, memory) without room for a machine."""

    clock: Clock
    apps: set[str] = field(default_factory=lambda: {str(APP)})
    volumes: dict[str, Volume] = field(default_factory=dict)
    servers: dict[str, Machine] = field(default_factory=dict)
    no_room: set[tuple[str, int]] = field(default_factory=set)
    asked: list[tuple[str, int]] = field(default_factory=list)
    most: int = 0
    refusals: list[Exception] = field(default_factory=list)
    stubborn: int = 0  # so often a delete is refused after its machine went
    count: int = 0
    stays: str | None = None  # the state no volume leaves
    starts: bool = True
    lingers: bool = False  # machines stay, whatever they were told
    forgets: bool = False  # it knows no machine that it destroyed
    refuses_to_list: bool = False
    called: list[str] = field(default_factory=list)
    slow: asyncio.Event | None = None
    deaf: bool = False  # it destroys nothing
    mount: str | None = None  # where volumes are mounted, whatever was asked for
    destroying: asyncio.Event = field(default_factory=asyncio.Event)

    def new_id(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    async def create_volume(self, spec: ScratchVolume) -> Volume:
        self._known(spec.app)
        if self.refusals:
            raise self.refusals.pop(0)
        made = volume(
            self.new_id("vol_t"),
            app=spec.app,
            name=VolumeName(spec.name),
            region=spec.region,
            size_gb=spec.size_gb,
            machine=None,
            state="restoring",
            created_at=self.clock.now(),
        )
        self.volumes[made.id] = made
        return made

    async def app_volumes(self, app: AppName) -> tuple[Volume, ...]:
        self._known(app)
        return tuple(one for one in self.volumes.values() if one.app == app)

    async def volume(self, _app: AppName, volume_id: VolumeId) -> Volume:
        self.volumes[volume_id] = replace(self.volumes[volume_id], state=self.stays or "created")
        return self.volumes[volume_id]

    async def delete_volume(self, _app: AppName, volume_id: VolumeId) -> None:
        found = self.volumes.get(volume_id)
        if self.stubborn or (found and found.attached_machine_id):
            self.stubborn = max(0, self.stubborn - 1)
            raise FlyPreconditionError("it is attached")
        self.volumes.pop(volume_id, None)

    async def create_machine(self, spec: WorkerMachine) -> Machine:
        self._known(spec.app)
        self.asked.append((spec.region, spec.guest.memory_mb))
        if (spec.region, spec.guest.memory_mb) in self.no_room:
            raise FlyCapacityError("no room")
        metadata = {OWNER_KEY: spec.run_id, "fly_process_group": WORKER_GROUP}
        made = self.machine(spec.name, metadata=metadata)
        if spec.volume_id:
            self.servers[made.id] = made = replace(made, mounts=(Mount(spec.volume_id, self.mount or spec.mount),))
            held = self.volumes[spec.volume_id]
            self.volumes[spec.volume_id] = replace(held, attached_machine_id=made.id)
        self.most = max(self.most, len(self.servers))
        return made

    def machine(self, name: str, *, metadata: dict[str, str] | None = None) -> Machine:
        config = None if metadata is None else json.dumps({"metadata": metadata})
        made = Machine(
            MachineId(self.new_id("m_t")), APP, name, "started", "fra", None, HostStatus.OK, config_json=config
        )
        self.servers[made.id] = made
        return made

    async def machines(self, app: AppName) -> tuple[Machine, ...]:
        self.called.append("machines")
        if self.refuses_to_list:
            raise FlyUnavailableError("no answer")
        self._known(app)
        return tuple(one for one in self.servers.values() if one.app == app)

    async def wait_for_state(self, _app: AppName, machine_id: MachineId, state: str, *, within: timedelta) -> bool:
        assert within > timedelta(0)
        found = self.servers.get(machine_id)
        if state == "destroyed" and self.forgets:
            raise FlyNotFoundError("no such machine")
        if (state == "started" and not self.starts) or (state == "destroyed" and self.lingers):
            return False
        return found is None if state == "destroyed" else found is not None and found.state == state

    async def destroy_machine(self, _app: AppName, machine_id: MachineId) -> None:
        if self.deaf:
            raise FlyUnavailableError("no answer")
        self.destroying.set()
        if self.slow is not None:
            await self.slow.wait()
        self.servers.pop(machine_id, None)
        for one in list(self.volumes.values()):
            if one.attached_machine_id == machine_id:
                self.volumes[one.id] = replace(one, attached_machine_id=None)

    async def execute_with_input(
        self, _app: AppName, _machine_id: MachineId, command: tuple[str, ...], *, stdin: str, within: timedelta
    ) -> CommandResult:
        """It knows one command."""
        assert (command, within > timedelta(0)) == (("cat",), True)
        if len(stdin.encode()) > 60_000:
            raise FlyInvalidRequestError("too much input")
        return CommandResult(0, stdin, "")

    def _known(self, app: str) -> None:
        if app not in self.apps:
            raise FlyNotFoundError("no such app")


@dataclass
class StandingWorkers:
    """ports.machine_worker.MachineWorkers by the workers in memory."""

    workers: MemoryWorkers

    def command(self, *, deadline_s: float) -> tuple[str, ...]:
        return ("flykeep", "worker", "stand", str(int(deadline_s)))

    async def export(
        self, machine: Machine, order: ExportOrder, *, on_progress: Callable[[Progress], None]
    ) -> ExportResult:
        assert machine.is_started
        return await self.workers.export(order, on_progress=on_progress)


class DiedError(BaseException):
    """The process is gone: nothing it would still do happens."""


@dataclass
class Reaper:
    """Counts the moments a process could die at, and ends it at the chosen one."""

    at: int | None = None
    seen: int = 0

    @property
    def is_dead(self) -> bool:
        return self.at is not None and self.seen >= self.at

    def moment(self) -> None:
        if not self.is_dead:
            self.seen += 1
        if self.is_dead:
            raise DiedError


class Mortal:
    """A port whose calls a process may die before and after; afterwards none gets through."""

    def __init__(self, inner: Any, reaper: Reaper) -> None:
        self._inner, self._reaper = inner, reaper

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def called(*given: Any, **named: Any) -> Any:
            self._reaper.moment()
            answer = await found(*given, **named)
            self._reaper.moment()
            return answer

        return called


class MortalCatalog(Mortal):
    def transaction(self) -> AbstractAsyncContextManager[Any]:
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        self._reaper.moment()
        async with self._inner.transaction() as tx:
            yield tx
        self._reaper.moment()


@dataclass
class ScratchParts:
    """The jobs with the snapshot source; `reaper` decides when the process that exports dies."""

    parts: Parts
    fly: SnapshotFly
    world: ScratchWorld
    rule: ScratchRule = RULE
    hidden: frozenset[str] = frozenset()
    reaper: Reaper = field(default_factory=Reaper)

    @property
    def scratch(self) -> Scratch:
        world: Any = Mortal(self.world, self.reaper)
        catalog: Any = MortalCatalog(self.parts.catalog, self.reaper)
        return Scratch(world, catalog, self.parts.clock, "image@sha256:00", self.rule.max_workers, _LIMITS)

    @property
    def export(self) -> ExportJob:
        catalog: Any = MortalCatalog(self.parts.catalog, self.reaper)
        fly: Any = Mortal(self.fly, self.reaper)
        source = SnapshotSource(
            SnapshotJob(fly, catalog, self.parts.clock),
            self.scratch,
            StandingWorkers(self.parts.workers),
            self.rule,
            catalog,
            self.parts.clock,
            self.hidden,
        )
        stores: Any = {
            name: replace(bound, store=Mortal(bound.store, self.reaper)) for name, bound in self.parts.bound.items()
        }
        return replace(self.parts.export, fly=fly, catalog=catalog, stores=stores, snapshots=source)

    @property
    def reconcile(self) -> ReconcileJob:
        sweep = ScratchSweep(self.world, self.parts.catalog, self.parts.clock, APP)
        return replace(self.parts.reconcile, scratch=sweep)

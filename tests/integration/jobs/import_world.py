"""A machine whose files an import replaces, in memory: what is staged, in place, kept, held and restarted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import FlyConflictError, FlyUnavailableError, NotFoundError, SshError
from flykeep.domain.fly import MachineCheck
from flykeep.domain.ids import ExportId
from flykeep.jobs.import_ import ImportJob, ImportSettings
from flykeep.jobs.import_ending import ImportEnding
from flykeep.jobs.import_log import ImportLog
from flykeep.jobs.import_moving import ImportMover
from flykeep.jobs.import_planner import ImportPlanner
from flykeep.jobs.import_sweep import ImportSweep
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.jobs.restarting import Restarter
from flykeep.ports.fly import Lease
from flykeep.ports.importing import (
    ArtifactSource,
    ImportOrder,
    ImportResult,
    Placed,
    PlaceOrder,
    PlaceResult,
    Placing,
)
from flykeep.ports.worker import Progress
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.scratch_world import Mortal, MortalCatalog, Reaper


@dataclass
class Volume:
    """`content` is what the application sees: old, half or new. Folders of runs, by run id."""

    content: str = "old"
    staged: dict[str, str] = field(default_factory=dict)  # run -> half | whole | moving | moved | undone

    @property
    def is_clean(self) -> bool:
        return not self.staged


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class MemoryMachine:
    """ports.importing.Importers and ports.fly.MachineController at once; a reaper strikes in the middle of each act."""

    volume: Volume = field(default_factory=Volume)
    lease: str | None = None
    restarts: int = 0
    renewals: int = 0
    may_end: asyncio.Event = field(default_factory=_set)  # cleared, a change of files takes until the second renewal
    checks: list[tuple[MachineCheck, ...]] = field(default_factory=list)
    state: str = "started"
    errors: dict[str, Exception] = field(default_factory=dict)
    reaper: Reaper = field(default_factory=Reaper)

    # -- files

    async def stage(self, order: ImportOrder, *, on_progress: Callable[[Progress], None]) -> ImportResult:
        self.volume.staged[order.run_id] = "half"
        on_progress(Progress("sending", 1, 1, 1))
        self._strike("stage")
        self.volume.staged[order.run_id] = "whole"
        return ImportResult(2, 1, 3, 0, "gnu")

    async def place(self, order: PlaceOrder) -> PlaceResult:
        await self.may_end.wait()
        return PlaceResult(self._place(order.run_id, order.placing))

    def _place(self, run_id: str, placing: Placing) -> Placed:
        folders = self.volume.staged
        if placing is Placing.DISCARD:
            assert folders.get(run_id) in {None, "half", "whole"}
            folders.pop(run_id, None)
            return Placed.NOTHING
        if placing is Placing.DROP:
            assert folders.get(run_id) in {None, "moved", "undone"}
            folders.pop(run_id, None)
            return Placed.NOTHING
        if run_id not in folders:
            return Placed.NOTHING
        done, content = ("moved", "new") if placing is Placing.MOVE else ("undone", "old")
        assert folders[run_id] != "half", "what was not compared must never be moved"
        folders[run_id], self.volume.content = "moving", "half"
        self._strike(placing.value)
        folders[run_id], self.volume.content = done, content
        return Placed(done)

    def _strike(self, act: str) -> None:
        self.reaper.moment()
        if act in self.errors:
            raise self.errors.pop(act)

    # -- the machine

    async def lease_holder(self, _app: str, _machine_id: str) -> str | None:
        return self.lease

    async def acquire_lease(self, app: Any, machine_id: Any, *, within: timedelta, reason: str) -> Lease:
        assert within <= timedelta(hours=1)
        assert reason
        if self.lease is not None:
            raise FlyConflictError("lease currently held")
        self.lease = "flykeep"
        return Lease(app, machine_id, "nonce")

    async def renew_lease(self, lease: Lease, *, within: timedelta) -> None:
        assert (lease.nonce, self.lease) == ("nonce", "flykeep")
        self.renewals += 1
        if self.renewals == 1:
            raise FlyUnavailableError("no answer")
        self.may_end.set()

    async def release_lease(self, lease: Lease) -> None:
        assert lease.nonce == "nonce"
        self.lease = None

    async def restart_machine(self, lease: Lease) -> None:
        assert lease.nonce == "nonce"
        assert self.lease == "flykeep"
        self.restarts += 1
        self._strike("restart")

    async def wait_machine(self, _app: Any, _machine_id: Any, _state: str, _within: timedelta) -> None:
        self._strike("wait")

    async def machine_checks(self, _app: Any, _machine_id: Any) -> tuple[MachineCheck, ...]:
        self._strike("checks")
        return self.checks.pop(0) if len(self.checks) > 1 else (self.checks[0] if self.checks else ())


@dataclass
class MemoryArtifacts:
    """ArtifactReader of one artifact."""

    artifact: Artifact | None = None

    async def find(self, export_id: ExportId) -> Artifact:
        if self.artifact is None or self.artifact.export_id != export_id:
            raise NotFoundError("no such artifact")
        return self.artifact

    def source(self, artifact: Artifact) -> ArtifactSource:
        manifest = artifact.manifest
        order: Any = None
        return ArtifactSource(order, manifest.data, manifest.index, None, None, False, manifest.totals)


@dataclass
class ImportParts:
    """The jobs, each built anew as a new process would; `reaper` ends the process at a chosen moment."""

    parts: Parts
    machine: MemoryMachine = field(default_factory=MemoryMachine)
    artifacts: MemoryArtifacts = field(default_factory=MemoryArtifacts)
    reaper: Reaper = field(default_factory=Reaper)

    def _mortal(self, inner: Any) -> Any:
        return Mortal(inner, self.reaper)

    @property
    def catalog(self) -> Any:
        return MortalCatalog(self.parts.catalog, self.reaper)

    @property
    def log(self) -> ImportLog:
        return ImportLog(self.catalog, self.parts.clock)

    @property
    def mover(self) -> ImportMover:
        self.machine.reaper = self.reaper
        control = self._mortal(self.machine)
        restarter = Restarter(control, self.parts.clock)
        return ImportMover(control, self._mortal(self.parts.fly), control, self.log, restarter, timedelta(hours=1))

    @property
    def planner(self) -> ImportPlanner:
        return ImportPlanner(
            self._mortal(self.parts.fly), self._mortal(self.machine), self._mortal(self.artifacts), self.log
        )

    @property
    def job(self) -> ImportJob:
        return ImportJob(
            self.planner,
            self._mortal(self.parts.fly),
            self._mortal(self.machine),
            self.artifacts,
            self.log,
            self.mover,
            ImportEnding(self.planner, self.log, self.mover),
            ImportSettings(timedelta(hours=1), timedelta(minutes=2)),
        )

    @property
    def reconcile(self) -> ReconcileJob:
        parts = self.parts
        sweep = ImportSweep(self.catalog, self.log, self.planner, self.mover, (parts.rule,))
        return ReconcileJob(self.catalog, parts.owners, parts.clock, dict(parts.stores), parts.settler, imports=sweep)


LOST = SshError("the connection ended before the command did")
UNKNOWN = FlyUnavailableError("no answer")

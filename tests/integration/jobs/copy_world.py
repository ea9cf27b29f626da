"""Copies into another app in memory: the source only tells, the other app is a platform that a test breaks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from flykeep.domain.errors import FlyNotFoundError
from flykeep.domain.fly import Machine, VolumeSnapshot
from flykeep.domain.ids import AppName, MachineId, SnapshotId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, RunRequest, RunState
from flykeep.jobs.context import Journal, TargetWork
from flykeep.jobs.copy_planner import CopyPlanner
from flykeep.jobs.copy_removal import CopyRemover
from flykeep.jobs.drill_choice import DrillKeys
from flykeep.jobs.filling import Filler
from flykeep.jobs.probing import Prober
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.jobs.restore_copy import CopyJob
from flykeep.jobs.scratch_sweep import ScratchSweep
from flykeep.jobs.visiting import Visitor
from flykeep.ports.scratch import OWNER_KEY, WorkerMachine
from flykeep.testing.memory_platform import MemorySnapshot, Server
from flykeep.testing.production import MemoryProduction
from tests.integration.jobs.drill_world import DrillWorkers, StandingWorkers
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.scratch_world import Mortal, MortalCatalog, Reaper, SnapshotFly
from tests.integration.jobs.visit_world import NamedLinks

STAGING = AppName("staging")


class StagingFly(MemoryProduction):
    """Takes worker machines too."""

    async def create_machine(self, spec: WorkerMachine) -> Machine:
        self.pass_by("create_machine", is_after=False)
        mounts = [{"volume": spec.volume_id, "path": spec.mount}]
        config = {"metadata": {OWNER_KEY: spec.run_id}, "mounts": mounts}
        server = Server(MachineId(self.new("m")), spec.app, spec.name, spec.region, config)
        self.claim(self.disk(spec.app, str(spec.volume_id)), server)
        self.servers[server.id] = server
        self.begin(server)
        self.pass_by("create_machine", is_after=True)
        return server.facts()


class SourceFly(SnapshotFly):
    """The target's own app; `is_silent` where Fly does not answer for it."""

    is_silent = False

    async def snapshots(self, app: str, volume_id: str) -> tuple[VolumeSnapshot, ...]:
        self._answer()
        return await super().snapshots(app, volume_id)

    async def volume(self, app: str, volume_id: str) -> Any:
        self._answer()
        return await super().volume(app, volume_id)

    async def machine(self, app: str, machine_id: str) -> Any:
        self._answer()
        return await super().machine(app, machine_id)

    def _answer(self) -> None:
        if self.is_silent:
            raise FlyNotFoundError("gone")


@dataclass
class CopyParts:
    """`reaper` decides when the copying process dies."""

    parts: Parts
    has_workers: bool = True
    hidden: frozenset[str] = frozenset()
    reaper: Reaper = field(default_factory=Reaper)
    asking: DrillWorkers = field(default_factory=DrillWorkers)

    def __post_init__(self) -> None:
        self.source = SourceFly(self.parts.clock)
        self.parts.fly = self.source
        self.there = StagingFly(self.parts.clock, app_names={STAGING})
        at = self.parts.clock.now() - timedelta(hours=2)
        self.there.shots[SnapshotId("vs_0")] = MemorySnapshot(self.source.the_volume.id, "whole", at, 3)

    @property
    def filler(self) -> Filler | None:
        if not self.has_workers:
            return None
        parts, there, catalog = self.parts, self._mortal(self.there), self._catalog
        keys = DrillKeys(parts.bound, self.hidden, parts.settler, parts.keys.index_key, lambda: parts.identity)
        visitor = Visitor(there, catalog, parts.clock, "image@sha256:00")
        workers: Any = self._mortal(StandingWorkers(self.asking))
        return Filler(Prober(visitor, workers, catalog, keys, NamedLinks(), timedelta(hours=1)))

    @property
    def job(self) -> CopyJob:
        there, catalog, clock = self._mortal(self.there), self._catalog, self.parts.clock
        source: Any = self.source
        planner = CopyPlanner(source, there, catalog, self.filler)
        return CopyJob(planner, there, CopyRemover(there, catalog, clock), clock, "image@sha256:00")

    @property
    def remover(self) -> CopyRemover:
        """One that lives."""
        return CopyRemover(self.there, self.parts.catalog, self.parts.clock)

    @property
    def reconcile(self) -> ReconcileJob:
        there: Any = self.there
        sweep = ScratchSweep(there, self.parts.catalog, self.parts.clock, None)
        return replace(self.parts.reconcile, scratch=sweep, copies=self.remover)

    async def work(self, *, kind: JobKind = JobKind.RESTORE, **asked: Any) -> TargetWork:
        """Of a new run, after the one before it has ended; its journal dies with the process."""
        async with self.parts.catalog.transaction() as tx:
            for before in await tx.runs(is_open=True):
                await tx.finish(before.id, outcome=Outcome(RunState.FAILED), now=self.parts.clock.now())
        request = RunRequest(**({"to_app": STAGING, "snapshot_id": SnapshotId("vs_0")} | asked))
        run = await self.parts.claimed(kind=kind, request=request)
        return replace(self.parts.work(run), journal=Journal(run, self._catalog, self.parts.clock))

    async def names(self, work: TargetWork) -> list[str]:
        return [step.name for step in await self.parts.steps(work.run)]

    def volumes(self) -> dict[str, str]:
        """What the other app's volumes hold."""
        disks = self.there.disks.values()
        return {disk.volume.id: disk.contents for disk in disks if disk.volume.state != "pending_destroy"}

    def machines(self) -> list[Server]:
        return [one for one in self.there.servers.values() if one.state != "destroyed"]

    @property
    def _catalog(self) -> Any:
        return MortalCatalog(self.parts.catalog, self.reaper)

    def _mortal(self, inner: Any) -> Any:
        return Mortal(inner, self.reaper)

"""Restores over a Fly in memory: one app whose volume is spoiled, a snapshot of it from before, and a watch on both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from flykeep.domain.errors import FlykeepError
from flykeep.domain.fly import HostStatus, Machine
from flykeep.domain.ids import MachineId, RunId, SnapshotId, VolumeId
from flykeep.domain.policy import JobKind
from flykeep.domain.restore_phases import RestoreRecord, restore_record
from flykeep.domain.run import Outcome, Run, RunRequest, RunState
from flykeep.domain.target import Lineage
from flykeep.jobs.context import Journal, TargetWork
from flykeep.jobs.drill_choice import DrillKeys
from flykeep.jobs.filling import Filler
from flykeep.jobs.probing import Prober
from flykeep.jobs.restore import RestoreJob
from flykeep.jobs.restore_ending import RestoreEnding
from flykeep.jobs.restore_log import RestoreLog
from flykeep.jobs.restore_machine import NewMachines
from flykeep.jobs.restore_planner import RestorePlanner
from flykeep.jobs.restore_sweep import RestoreSweep
from flykeep.jobs.restore_switch import Switch
from flykeep.jobs.restore_volume import NewVolume
from flykeep.jobs.runner import failure_of
from flykeep.jobs.scratch_sweep import ScratchSweep
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.jobs.visiting import Visitor
from flykeep.ports.worker import DrillOrder, DrillResult, Progress
from flykeep.testing.launch_rules import Launch
from flykeep.testing.memory_fly import MemoryFly
from flykeep.testing.memory_platform import Disk, Server
from tests.integration.jobs.drill_world import DrillWorkers
from tests.integration.jobs.parts import Parts, parts_in
from tests.integration.jobs.restore_watch import Watch
from tests.integration.jobs.scratch_world import Mortal, MortalCatalog, Reaper
from tests.integration.jobs.visit_world import NamedLinks

SERVICE = {"internal_port": 8080, "autostart": True, "autostop": "suspend"}


@dataclass
class AskedWorkers:
    """ports.machine_worker.MachineWorkers that look at nothing."""

    inner: DrillWorkers

    def command(self, *, deadline_s: float) -> tuple[str, ...]:
        return self.inner.command(deadline_s=deadline_s)

    async def drill(
        self, machine: Machine, order: DrillOrder, *, on_progress: Callable[[Progress], None]
    ) -> DrillResult:
        assert machine.mounts
        on_progress(Progress("probe", 0, 0, 0))
        return await self.inner.carry_out(order)


@dataclass
class RestoreParts:
    """`reaper` decides when the process at work dies; `has_workers` whether a worker image is configured."""

    parts: Parts
    reaper: Reaper = field(default_factory=Reaper)
    asking: DrillWorkers = field(default_factory=DrillWorkers)
    has_workers: bool = True
    spare_regions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.fly = MemoryFly(self.parts.clock)
        self.disk: Disk = self.fly.add_volume("crocbot_data", contents="good", size_gb=3)
        self.shot: SnapshotId = self.fly.add_snapshot(self.disk)
        self.disk.contents = "spoiled"
        self.server: Server = self.fly.add_machine(
            "crocbot", self.disk, services=[dict(SERVICE)], checks={"alive": {"type": "tcp", "port": 8080}}
        )
        self.watch = Watch(self.fly, self.disk.volume.id, Launch("crocbot_data", "fra"))
        self.fly.watchers.append(self.watch.look)
        self.parts.lineage = replace(
            self.parts.lineage,
            machine_id=self.server.id,
            machine_name="crocbot",
            volume_ids=(self.disk.volume.id,),
        )

    @property
    def mortal_fly(self) -> Any:
        return Mortal(self.fly, self.reaper)

    @property
    def mortal_catalog(self) -> Any:
        return MortalCatalog(self.parts.catalog, self.reaper)

    @property
    def log(self) -> RestoreLog:
        return RestoreLog(self.mortal_catalog, self.parts.clock)

    @property
    def filler(self) -> Filler | None:
        if not self.has_workers:
            return None
        parts, index_key = self.parts, self.parts.keys.index_key
        keys = DrillKeys(parts.bound, frozenset(), parts.settler, index_key, lambda: parts.identity)
        visitor = Visitor(self.mortal_fly, self.mortal_catalog, parts.clock, "image@sha256:00")
        workers: Any = Mortal(AskedWorkers(self.asking), self.reaper)
        return Filler(Prober(visitor, workers, self.mortal_catalog, keys, NamedLinks(), timedelta(hours=1)))

    @property
    def planner(self) -> RestorePlanner:
        return RestorePlanner(self.mortal_fly, self.mortal_fly, self.log, self.filler, self.spare_regions)

    @property
    def sweeping(self) -> ScratchSweep:
        return ScratchSweep(self.mortal_fly, self.mortal_catalog, self.parts.clock, None)

    @property
    def job(self) -> RestoreJob:
        fly, clock, filler = self.mortal_fly, self.parts.clock, self.filler
        volumes = NewVolume(fly, clock, filler.prober if filler else None, filler)
        machines = NewMachines(fly, clock)
        switch = Switch(fly, clock, machines)
        snapshots = SnapshotJob(fly, self.mortal_catalog, clock)
        ending = RestoreEnding(fly, clock, volumes, machines, switch, snapshots)
        return RestoreJob(self.planner, fly, clock, self.log, volumes, machines, switch, ending, self.sweeping)

    @property
    def sweep(self) -> RestoreSweep:
        return RestoreSweep(self.job, (self.parts.rule,))

    async def begin(self, **request: Any) -> Run:
        """Restore in a run of its own; what it raises is raised, and the run is over either way."""
        asked = {"snapshot_id": self.shot} | request
        return await self._execute(RunRequest(**asked))

    async def end(self, ending: str, run: Run) -> Run:
        return await self._execute(RunRequest(ending=ending, of_run=run.id))

    async def attempt(self, run: Run) -> Outcome:
        """Execute a claimed run as the runner does, without recording its end."""
        async with self.parts.catalog.transaction() as tx:
            lineages = {one.id: one for one in await tx.lineages()}
        journal = Journal(run, self.mortal_catalog, self.parts.clock)
        work = TargetWork(run, lineages[self.parts.lineage.id], self.parts.rule, journal)
        return await self.job.run(work)

    async def _execute(self, request: RunRequest) -> Run:
        run = await self.parts.claimed(kind=JobKind.RESTORE, request=request)
        try:
            outcome = await self.attempt(run)
        except FlykeepError as error:
            await self.close(run, Outcome(RunState.FAILED, failure=failure_of(error)))
            raise
        except BaseException:
            await self.close(run, Outcome(RunState.INTERRUPTED))
            raise
        await self.close(run, outcome)
        return await self.parts.again(run)

    async def close(self, run: Run, outcome: Outcome) -> None:
        async with self.parts.catalog.transaction() as tx:
            await tx.finish(run.id, outcome=outcome, now=self.parts.clock.now())

    async def last(self) -> Run:
        """The newest run that is a restore itself."""
        async with self.parts.catalog.transaction() as tx:
            runs = await tx.runs(kind=JobKind.RESTORE, limit=50)
        return next(run for run in runs if run.request.ending is None)

    async def record(self, run: Run | None = None) -> RestoreRecord:
        run = run or await self.last()
        found = restore_record(RunId(run.id), await self.parts.steps(run))
        assert found is not None
        return found

    async def lineage(self) -> Lineage:
        async with self.parts.catalog.transaction() as tx:
            return next(one for one in await tx.lineages() if one.id == self.parts.lineage.id)

    # -- what is there

    @property
    def living(self) -> list[Server]:
        return [one for one in self.fly.servers.values() if one.state != "destroyed"]

    @property
    def started(self) -> list[Server]:
        """Those that run and answer."""
        return [one for one in self.living if one.state == "started" and one.host_status is HostStatus.OK]

    @property
    def serving(self) -> str:
        """What the one started machine has on its volume."""
        (server,) = self.started
        assert server.volume_id is not None
        return self.fly.disks[server.volume_id].contents

    @property
    def volume_ids(self) -> set[str]:
        return {name for name, disk in self.fly.disks.items() if not disk.volume.is_leaving}

    def made(self, record: RestoreRecord) -> tuple[Server, Disk]:
        """The new machine and volume."""
        assert record.machine_id is not None
        assert record.volume_id is not None
        return self.fly.servers[record.machine_id], self.fly.disks[record.volume_id]

    def sicken(self) -> None:
        self.fly.set_host(self.server, HostStatus.UNREACHABLE)


@asynccontextmanager
async def restore_world(directory: Path, **settings: Any) -> AsyncIterator[RestoreParts]:
    directory.mkdir(exist_ok=True)  # noqa: ASYNC240 - before anything runs
    async with parts_in(directory) as parts:
        world = RestoreParts(parts, **settings)
        async with parts.catalog.transaction() as tx:
            await tx.save_lineage(world.parts.lineage)
            config = world.server.facts().config_json
            assert config is not None
            await tx.save_machine_config(
                MachineId(world.server.id), lineage_id=parts.lineage.id, config_json=config, now=parts.clock.now()
            )
        yield world


def nothing_wrong(world: RestoreParts) -> bool:
    """Fails with what the watch saw."""
    assert world.watch.seen == []
    return True


def volume_id(disk: Disk) -> VolumeId:
    return disk.volume.id

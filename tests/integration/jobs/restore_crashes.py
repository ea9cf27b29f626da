"""A restore among parts in memory: its process can die and its Fly fail at every call, while an observer looks on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from flykeep.domain.errors import FlyError
from flykeep.domain.fly import Machine
from flykeep.domain.ids import AppName, OwnerId, SnapshotId
from flykeep.domain.policy import JobKind
from flykeep.domain.restore_config import RESTORE_KEY
from flykeep.domain.restore_phases import RestorePhase, RestoreRecord, restore_record
from flykeep.domain.run import Outcome, Run, RunRequest, RunState
from flykeep.domain.target import Lineage
from flykeep.jobs.drill_choice import DrillKeys
from flykeep.jobs.filling import Filler
from flykeep.jobs.probing import Prober
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.jobs.restore import RestoreJob
from flykeep.jobs.restore_ending import RestoreEnding
from flykeep.jobs.restore_log import RestoreLog
from flykeep.jobs.restore_machine import NewMachines
from flykeep.jobs.restore_planner import RestorePlanner
from flykeep.jobs.restore_sweep import RestoreSweep
from flykeep.jobs.restore_switch import Switch
from flykeep.jobs.restore_volume import NewVolume
from flykeep.jobs.runner import Jobs, Runner
from flykeep.jobs.scratch_sweep import ScratchSweep
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.jobs.visiting import Visitor
from flykeep.ports.worker import DrillOrder, DrillResult
from flykeep.testing.launch_rules import Launch
from flykeep.testing.memory_fly import MemoryFly
from flykeep.testing.memory_platform import Disk, Server
from tests.integration.jobs.drill_world import DrillWorkers
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.restore_watch import WORKERS, Watch
from tests.integration.jobs.scratch_world import Mortal, MortalCatalog, Reaper
from tests.integration.jobs.visit_world import NamedLinks
from tests.unit.domain.builders import lineage

APP, SCRATCH = AppName("my-crocbot"), AppName("flykeep-scratch")
NAME = "crocbot_data"
SERVICES = [{"internal_port": 8080, "autostart": True}, {"internal_port": 9090}]
CHECKS = {"alive": {"type": "tcp", "port": 8080}}
LATER = timedelta(hours=2)

_AS_BEFORE = {"started": {"started"}, "stopped": {"stopped"}, "suspended": {"suspended", "started"}}
"""A suspended machine serves again once a request comes: going back may start it, and loses nothing."""


@dataclass(frozen=True)
class Scene:
    """How the app is when it is restored."""

    state: str = "started"
    are_names_unique: bool = False
    is_unhealthy: bool = False
    has_neighbour: bool = False  # of the same app, else of another


@dataclass
class Asking:
    """ports.machine_worker.MachineWorkers: the machine's answer is what the test says."""

    fly: MemoryFly
    inner: DrillWorkers

    def command(self, *, deadline_s: float) -> tuple[str, ...]:
        return self.inner.command(deadline_s=deadline_s)

    async def drill(self, machine: Machine, order: DrillOrder, *, on_progress: Any) -> DrillResult:
        assert on_progress
        assert self.fly.servers[machine.id].state == "started"
        return await self.inner.carry_out(order)


@dataclass
class Crashes:
    """One app, restored again and again by processes that die; each life has an owner of its own."""

    parts: Parts
    scene: Scene = Scene()
    number: int = 1
    reaper: Reaper = field(default_factory=Reaper)
    asking: DrillWorkers = field(default_factory=DrillWorkers)
    lives: int = 0
    began: Run | None = None
    fault: Callable[[str, bool], None] | None = None

    def __post_init__(self) -> None:
        self.fly = MemoryFly(self.parts.clock, app_names={APP, SCRATCH}, are_names_unique=self.scene.are_names_unique)
        self.disk: Disk = self.fly.add_volume(NAME, contents="good", size_gb=2)
        self.snapshot: SnapshotId = self.fly.add_snapshot(self.disk)
        self.disk.contents = "spoiled"
        config = {"services": copy.deepcopy(SERVICES), "checks": CHECKS}
        self.old: Server = self.fly.add_machine("calm-sea-1", self.disk, state=self.scene.state, **config)
        other = self.fly.add_volume("other_data", contents="other", app=APP if self.scene.has_neighbour else "wiki")
        self.bystander = self.fly.add_machine("dry-lake-2", other, **copy.deepcopy(config))
        if self.scene.is_unhealthy:
            self.fly.failing_checks = {"alive"}
        self.before = copy.deepcopy(self.old)
        self.bystander_before = copy.deepcopy(self.bystander)
        self.watch = Watch(self.fly, self.disk.volume.id, Launch(NAME, "fra"))
        self.fly.watchers = [self.watch.look, self._moment, self._fault]
        self.target: Lineage = lineage(
            f"lin_{self.number}",
            machine_id=self.old.id,
            machine_name=self.old.name,
            volume_ids=(self.disk.volume.id,),
        )

    def _moment(self, _call: str, _is_after: bool) -> None:
        self.reaper.moment()

    def _fault(self, call: str, is_after: bool) -> None:
        if self.fault is not None:
            self.fault(call, is_after)

    async def begin(self) -> None:
        """Let the catalog know the target."""
        async with self.parts.catalog.transaction() as tx:
            await tx.save_lineage(self.target)

    # -- the jobs, of whichever process lives now

    @property
    def catalog(self) -> Any:
        return MortalCatalog(self.parts.catalog, self.reaper)

    @property
    def log(self) -> RestoreLog:
        return RestoreLog(self.catalog, self.parts.clock)

    @property
    def prober(self) -> Prober:
        keys = self.parts.keys.index_key
        drill_keys = DrillKeys(self.parts.bound, frozenset(), self.parts.settler, keys, lambda: None)
        visitor = Visitor(self.fly, self.catalog, self.parts.clock, "image@sha256:00")
        workers: Any = Mortal(Asking(self.fly, self.asking), self.reaper)
        return Prober(visitor, workers, self.catalog, drill_keys, NamedLinks(), timedelta(hours=1))

    @property
    def scratch(self) -> ScratchSweep:
        return ScratchSweep(self.fly, self.catalog, self.parts.clock, SCRATCH)

    @property
    def job(self) -> RestoreJob:
        """As bootstrap builds it."""
        clock, fly = self.parts.clock, self.fly
        prober = self.prober
        volumes, machines = NewVolume(fly, clock, prober, Filler(prober)), NewMachines(fly, clock)
        planner = RestorePlanner(fly, fly, self.log, Filler(prober), ("ams",))
        switch = Switch(fly, clock, machines)
        ending = RestoreEnding(fly, clock, volumes, machines, switch, SnapshotJob(fly, self.catalog, clock))
        return RestoreJob(planner, fly, clock, self.log, volumes, machines, switch, ending, self.scratch)

    @property
    def reconcile(self) -> ReconcileJob:
        sweep = RestoreSweep(self.job, (self.parts.rule,))
        return replace(self.parts.reconcile, catalog=self.catalog, scratch=self.scratch, restores=sweep)

    # -- lives

    async def run(self, request: RunRequest | None = None) -> tuple[Run, Outcome | None]:
        """One run by a process of its own, to its end or death: then the outcome is None."""
        self.watch.is_finalizing |= request is not None and request.ending == "finalize"
        self.lives += 1
        asked = request or RunRequest(snapshot_id=self.snapshot)
        run = await self.parts.claimed(
            owner=OwnerId(f"process-{self.number}-{self.lives}"),
            kind=JobKind.RESTORE,
            lineage_id=self.target.id,
            request=asked,
        )
        self.began = run if request is None else self.began
        runner = Runner(self.catalog, self.parts.clock, (self.parts.rule,), Jobs({JobKind.RESTORE: self.job}, {}))
        try:
            return run, await runner.execute(run)
        except BaseException:
            if not self.reaper.is_dead:
                raise
            return run, None

    async def again(self, ending: str | None) -> Outcome | None:
        """The restore, or that end of the one that was made before."""
        return (await self.run())[1] if ending is None else await self.end(ending, self.restore)

    @property
    def restore(self) -> Run:
        """The run that began the restore."""
        assert self.began is not None
        return self.began

    def fail_at(self, at: int, error: FlyError, *, is_after: bool) -> None:
        """From here on, the n-th call fails."""
        left = at

        def fault(_call: str, now_after: bool) -> None:
            nonlocal left
            if now_after == is_after:
                left -= 1
                if left == 0:
                    self.watch.is_after_death = True  # whoever gives up lets go of its leases
                    raise type(error)(error.message)

        self.fault = fault

    async def end(self, ending: str, of_run: Run) -> Outcome | None:
        return (await self.run(RunRequest(ending=ending, of_run=of_run.id)))[1]

    async def reconciled(self, *, after: timedelta = timedelta(0)) -> None:
        """What a living process does at its start and hourly."""
        await self.parts.clock.sleep(after)
        await self.reconcile.reconcile(is_applied=True)

    def live(self) -> None:
        """From here on nobody dies and Fly does not fail."""
        self.reaper, self.fault = Reaper(), None

    async def repaired(self, run: Run, how: str) -> None:
        """What comes after a death: reconcile at the next start, then `how` where something waits for a person."""
        self.live()
        self.watch.is_after_death = True
        await self.reconciled()
        for _ in range(2):
            if await self._is_at_rest(run):
                return
            record = await self.record(run)
            assert record is not None
            if how == "resume" or record.phase.is_before_switch:
                await self.end(how, run)
            else:
                await self.reconciled(after=LATER)

    async def _is_at_rest(self, run: Run) -> bool:
        record = await self.record(run)
        return record is None or not record.is_half_done or record.phase is RestorePhase.OVER

    async def record(self, run: Run) -> RestoreRecord | None:
        """What that run journalled, over or not; None where it restored nothing."""
        return restore_record(run.id, await self.parts.steps(run))

    # -- what must be in the end

    async def assert_settled(self, run: Run) -> RestorePhase:
        """The app is on its old or on its new volume, well, and nothing is there that nobody knows of."""
        record = await self.record(run)
        phase = record.phase if record else RestorePhase.OVER
        at_rest = {RestorePhase.OVER, RestorePhase.RESTORED} | (
            {RestorePhase.CHECKING} if self.scene.is_unhealthy else set()
        )
        assert phase in at_rest, phase
        self._assert_nothing_foreign()
        servers = {one.id: one for one in self.watch.servers()}
        used = servers.get(record.machine_id or "") if record and phase.is_on_new else servers.get(self.old.id)
        if used is None:  # the restore was finalized: what is left is the new one
            (used,) = servers.values()
        kept = [one for one in servers.values() if one is not used]
        assert len(kept) == (1 if phase.is_on_new else 0), servers
        self._assert_in_use(used)
        for one in kept:
            assert one.state == "stopped"
            hold = self.fly.hold(one)
            assert hold is None or hold.owner.startswith("flykeep")  # a dead process's ends by itself
        await self._assert_known(used)
        assert not self.watch.seen, sorted(set(self.watch.seen))
        return phase

    def _assert_in_use(self, used: Server) -> None:
        is_old = used.id == self.old.id
        contents = self.fly.disks[used.volume_id or ""].contents
        assert contents == ("spoiled" if is_old else "good")
        assert used.state in (_AS_BEFORE[self.before.state] if is_old else {"started"})
        assert used.is_cordoned == (self.scene.is_unhealthy and not is_old)
        config, before = copy.deepcopy(used.config), copy.deepcopy(self.before.config)
        if not is_old:
            if self.scene.is_unhealthy:
                config["metadata"].pop(RESTORE_KEY, None)
            config["mounts"][0]["volume"] = before["mounts"][0]["volume"]
            assert used.name.startswith(self.before.name)
        assert config == before, f"{json.dumps(config)} != {json.dumps(before)}"

    def _assert_nothing_foreign(self) -> None:
        servers = [one for one in self.fly.servers.values() if one.state != "destroyed"]
        assert not [one for one in servers if one.metadata.get("fly_process_group") == WORKERS]
        assert {one.volume_id for one in servers} == {
            disk.volume.id for disk in self.fly.disks.values() if not disk.volume.is_leaving
        }
        assert self.bystander == self.bystander_before
        assert RESTORE_KEY not in self.bystander.metadata

    async def _assert_known(self, used: Server) -> None:
        async with self.parts.catalog.transaction() as tx:
            (known,) = [one for one in await tx.lineages() if one.id == self.target.id]
        assert (known.machine_id, known.volume_id) == (used.id, used.volume_id)

    async def finalized(self, run: Run) -> None:
        """Drop what is kept, where something is, and see that all else stays."""
        record = await self.record(run)
        if record is not None and record.phase is RestorePhase.RESTORED:
            outcome = await self.end("finalize", run)
            assert outcome is not None
            assert outcome.state is RunState.SUCCEEDED, outcome
        assert await self.assert_settled(run) is RestorePhase.OVER
        assert len(self.watch.servers()) == 1


async def crashes(parts: Parts, scene: Scene = Scene(), *, number: int = 1) -> Crashes:
    made = Crashes(parts, scene, number)
    await made.begin()
    return made

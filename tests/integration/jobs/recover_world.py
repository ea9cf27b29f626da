"""A lost app and everything it is rebuilt with, in memory; a process that can die at any call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from flykeep.adapters.codecs.sealing import AgeOpener
from flykeep.domain.app_description import (
    AddressKind,
    AppDescription,
    DescribedAddress,
    DescribedMachine,
    DescribedSecret,
    DescribedVolume,
    canonical_config,
)
from flykeep.domain.errors import FlyUnavailableError
from flykeep.domain.fly import App, Machine
from flykeep.domain.ids import AppName, MachineId, VolumeId, VolumeName
from flykeep.domain.policy import JobKind
from flykeep.domain.recover_plan import RecoverWish
from flykeep.domain.run import Outcome, Run, RunRequest, RunState
from flykeep.domain.target import recovery_lineage
from flykeep.jobs.candidates import CandidateReader
from flykeep.jobs.context import Journal, OrgWork
from flykeep.jobs.drill_choice import DrillKeys
from flykeep.jobs.filling import Filler
from flykeep.jobs.probing import Prober
from flykeep.jobs.rebuild import RebuildJob
from flykeep.jobs.recover import Handed, RecoverInputs, RecoverJob
from flykeep.jobs.recover_log import RecoverLog
from flykeep.jobs.recover_machines import RecoverMachines
from flykeep.jobs.recover_outside import Outside
from flykeep.jobs.recover_planner import RecoverPlanner
from flykeep.jobs.recover_volumes import RecoverVolumes
from flykeep.jobs.scratch_sweep import ScratchSweep
from flykeep.jobs.visiting import Visitor
from flykeep.ports.catalog import SavedDescription
from flykeep.ports.worker import DrillOrder, DrillResult, Progress
from flykeep.testing.memory_fly import MemoryFly
from tests.integration.jobs.apps_world import AppsWorld, KeptApp
from tests.integration.jobs.drill_world import DrillWorkers
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.scratch_world import DiedError, Mortal, MortalCatalog, Reaper
from tests.integration.jobs.visit_world import NamedLinks
from tests.unit.domain.builders import DAY

LOST = AppName("my-crocbot")
NEW = AppName("my-crocbot-2")
SECRETS = {"BOT_TOKEN": "planted-value"}
IDENTITY = "AGE-SECRET-KEY-1PLANTED"
_CONFIG: dict[str, Any] = {
    "image": "registry.fly.io/my-crocbot@sha256:" + "5" * 64,
    "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512},
    "metadata": {"fly_process_group": "app", "fly_release_id": "7", "fly_platform_version": "v2"},
    "mounts": [{"volume": "vol_1", "path": "/data", "name": "crocbot_data"}],
}
MAIN = DescribedMachine(MachineId("m1"), "croc-1", "fra", "app", canonical_config(_CONFIG))
STANDBY = DescribedMachine(
    MachineId("m0"),
    "a-standby",
    "ams",
    "app",
    canonical_config({"image": "docker.io/x@sha256:00", "standbys": ["m1", "gone"]}),
)
DATA = DescribedVolume(VolumeId("vol_1"), VolumeName("crocbot_data"), 3, "fra", MachineId("m1"), 14, True)
CACHE = DescribedVolume(VolumeId("vol_9"), VolumeName("cache"), 1, "fra", None, None, False)


def described(parts: Parts, **changes: Any) -> AppDescription:
    fields: dict[str, Any] = {
        "app": LOST,
        "org": "personal",
        "network": "crocs",
        "machines": (STANDBY, MAIN),
        "volumes": (CACHE, DATA),
        "secrets": (DescribedSecret("BOT_TOKEN", "d"),),
        "addresses": (
            DescribedAddress("37.16.1.9", AddressKind.EGRESS),
            DescribedAddress("66.241.1.9", AddressKind.SHARED_V4, is_shared=True),
            DescribedAddress("2a09:8280:1::9", AddressKind.V6),
        ),
        "certificates": ("bot.example.com",),
        "described_at": parts.clock.now() - DAY,
    }
    return AppDescription(**(fields | changes))


class LinkedApps(AppsWorld):
    """Apps from outside, on the platform that holds their machines."""

    fly: MemoryFly
    lose_answer = lose_address = later_foreign = is_there_after_all = dies = False

    async def create_app(self, app: AppName, *, org: str, network: str | None) -> None:
        if self.later_foreign:
            self.foreign = frozenset({app})
        if self.is_there_after_all:
            self.kept[app] = KeptApp(App(app, "pending", network or "default", org))
            self.fly.app_names.add(app)
        await super().create_app(app, org=org, network=network)
        self.fly.app_names.add(app)
        if self.dies:
            raise DiedError
        if self.lose_answer:
            raise FlyUnavailableError("the answer was lost")

    async def assign_address(self, app: AppName, kind: AddressKind, *, region: str | None) -> DescribedAddress:
        made = await super().assign_address(app, kind, region=region)
        if self.lose_address:
            raise FlyUnavailableError("the answer was lost")
        return made

    def exists(self, app: AppName) -> None:
        self.kept[app] = KeptApp(App(app, "deployed", "default", "personal"))
        self.fly.app_names.add(app)


@dataclass
class FillingWorkers:
    """Standing workers that write into the volume of their machine, half of it at first."""

    fly: MemoryFly
    reaper: Reaper
    inner: DrillWorkers = field(default_factory=DrillWorkers)

    def command(self, *, deadline_s: float) -> tuple[str, ...]:
        return self.inner.command(deadline_s=deadline_s)

    async def drill(
        self, machine: Machine, order: DrillOrder, *, on_progress: Callable[[Progress], None]
    ) -> DrillResult:
        disk = self.fly.disks[machine.mounts[0].volume_id]
        assert disk.contents == "", "a volume that holds something was filled"
        disk.contents = "half"
        on_progress(Progress("restore", 0, 0, 0))
        self.reaper.moment()
        result = await self.inner.carry_out(order)
        disk.contents = "crocs"
        self.reaper.moment()
        return result


@dataclass
class RecoverParts:
    """`reaper` decides when the recovering process dies."""

    parts: Parts
    reaper: Reaper = field(default_factory=Reaper)
    hidden: frozenset[str] = frozenset()
    has_worker_image: bool = True
    regions: tuple[str, ...] = ()
    stores: tuple[str, ...] = ("offsite", "shelf")
    secrets: dict[str, str] = field(default_factory=lambda: dict(SECRETS))
    identity: str | None = IDENTITY
    opener: Any = field(default_factory=AgeOpener)
    is_dying_last: bool = False  # between the last step of a recovery and its run's end
    outcome: Outcome | None = None  # of the newest run

    def __post_init__(self) -> None:
        self.fly = MemoryFly(self.parts.clock, app_names=set())
        self.apps = LinkedApps()
        self.apps.fly = self.fly
        self.workers = FillingWorkers(self.fly, self.reaper)

    @property
    def job(self) -> RecoverJob:
        """Of a new process."""
        parts = self.parts
        fly: Any = Mortal(self.fly, self.reaper)
        apps: Any = Mortal(self.apps, self.reaper)
        catalog: Any = MortalCatalog(parts.catalog, self.reaper)
        keys = DrillKeys(parts.bound, self.hidden, parts.settler, parts.keys.index_key, lambda: None)
        visitor = Visitor(fly, catalog, parts.clock, "image@sha256:00")
        prober = Prober(visitor, self.workers, catalog, keys, NamedLinks(), timedelta(hours=1))
        log = RecoverLog(catalog)
        stores: Any = dict(parts.stores)
        rebuild = RebuildJob(catalog, parts.clock, stores, parts.settler, self.opener, lambda: None)
        candidates = CandidateReader(fly, catalog, parts.clock, (parts.rule,))
        filler = Filler(prober) if self.has_worker_image else None
        planner = RecoverPlanner(apps, fly, catalog, candidates, rebuild, self.stores, filler, log)
        return RecoverJob(
            planner,
            Outside(apps, parts.clock),
            RecoverVolumes(fly, planner, parts.clock, self.regions),
            RecoverMachines(fly, parts.clock),
            ScratchSweep(fly, catalog, parts.clock, None),
            catalog,
            log,
            Handed(),
        )

    def wish(self, *, name: AppName = NEW, **changes: Any) -> RecoverWish:
        return RecoverWish(LOST, name, secrets=frozenset(self.secrets), **changes)

    async def save(self, description: AppDescription | None) -> None:
        now = self.parts.clock.now()
        async with self.parts.catalog.transaction() as tx:
            await tx.save_description(SavedDescription(LOST, description, "", now))

    @asynccontextmanager
    async def begun(self, name: AppName) -> AsyncIterator[OrgWork]:
        """A run's work; one without an outcome is closed as the next process would close it."""
        self.outcome = None
        request = RunRequest(to_app=name)
        run: Run = await self.parts.claimed(kind=JobKind.RECOVER, lineage_id=recovery_lineage(LOST), request=request)
        catalog: Any = MortalCatalog(self.parts.catalog, self.reaper)
        try:
            yield OrgWork(run, Journal(run, catalog, self.parts.clock))
        finally:
            ended = self.outcome or Outcome(RunState.INTERRUPTED)
            async with self.parts.catalog.transaction() as tx:
                await tx.finish(run.id, outcome=ended, now=self.parts.clock.now())

    async def recover(self, *, name: AppName = NEW, **changes: Any) -> Outcome:
        """One run of it, as a verb does."""
        job = self.job
        job.handed.inputs = RecoverInputs(self.wish(name=name, **changes), self.secrets, self.identity)
        async with self.begun(name) as work:
            outcome = await job.run(work)
            self.outcome = None if self.is_dying_last else outcome
            return outcome

    async def step_names(self) -> list[str]:
        """Of all recoveries, oldest first."""
        async with self.parts.catalog.transaction() as tx:
            runs = await tx.runs(kind=JobKind.RECOVER, limit=1000)
            return [step.name for run in reversed(runs) for step in await tx.steps(run.id)]


async def recover_parts(parts: Parts) -> RecoverParts:
    """One artifact of the app's data, a description of the app, and no app any more."""
    parts.identity = IDENTITY
    await parts.export.run(parts.work(await parts.claimed(kind=JobKind.EXPORT)))
    async with parts.catalog.transaction() as tx:
        for run in await tx.runs(is_open=True):
            await tx.finish(run.id, outcome=Outcome(RunState.SUCCEEDED), now=parts.clock.now())
    made = RecoverParts(replace(parts))
    await made.save(described(parts))
    return made

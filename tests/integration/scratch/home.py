"""flykeep in this process on a simulated Fly that runs worker machines: everything real, on a faster clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flykeep.adapters.system import SystemClock
from flykeep.bootstrap import Application, open_application
from flykeep.cli.acting import exit_code
from flykeep.cli.targets import find_lineage
from flykeep.domain.artifact import Artifact
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest
from flykeep.domain.target import ORG_LINEAGE
from flykeep.jobs.runner import Watcher
from flykeep.ports.scratch import WORKER_GROUP
from flykeep.settings import load_settings
from flykeep.testing.flysim.journal import RecordedRequest
from flykeep.testing.flysim.model import Machine, Volume
from flykeep.testing.flysim.scenario import (
    AppSpec,
    MachineSpec,
    Progress,
    Scenario,
    Seed,
    SnapshotSpec,
    VolumeSpec,
)
from flykeep.testing.flysim.serve import FlySim
from tests.flykit import Kit, flykeep

SCRATCH_APP = "flykeep-scratch"
TARGET = "shop/shop_data"
SPEED = 20  # a worker needs its time to start, whatever the clock says
SHOP_SECRETS = {"PAYMENT_KEY": "sh0p-payment-key-7c1f0be2"}
_TREE = Seed(kind="crocbot", count=2)

SHOP = Scenario(
    rate_limits=False,
    snapshot_progress=Progress(polls=0, seconds=None),
    apps=(
        AppSpec(
            name="shop",
            secrets=SHOP_SECRETS,
            machines=(MachineSpec(name="calm-sea-1", volume="shop_data"),),
            volumes=(VolumeSpec(name="shop_data", seed=_TREE, snapshots=(SnapshotSpec(age_hours=2),)),),
        ),
        AppSpec(
            name="attic",
            volumes=(VolumeSpec(name="boxes", seed=_TREE, snapshots=(SnapshotSpec(age_hours=2),)),),
        ),
        AppSpec(name=SCRATCH_APP, network=SCRATCH_APP),
    ),
)
"""A started machine with a volume, a volume nobody mounts, and the app of what is temporary."""


class QuickClock(SystemClock):
    """Minutes of waiting pass in seconds; what the time of day is stays true."""

    def __init__(self) -> None:
        self._speed, self._since, self._passed = SPEED, super().monotonic(), 0.0

    def hurry(self, speed: int = SPEED) -> None:
        """Go at another speed from now on: where nobody answers, nobody needs to be waited for."""
        self._passed, self._since, self._speed = self.monotonic(), super().monotonic(), speed

    def monotonic(self) -> float:
        return self._passed + (super().monotonic() - self._since) * self._speed

    async def sleep(self, duration: timedelta) -> None:
        await super().sleep(duration / self._speed)


@dataclass
class Home:
    kit: Kit
    application: Application
    clock: QuickClock
    kind: JobKind = JobKind.EXPORT
    source: str = "snapshot"

    @property
    def sim(self) -> FlySim:
        return self.kit.sim

    @property
    def volume(self) -> Volume:
        return self.sim.world.find_volume("shop", "shop_data")

    @property
    def machine(self) -> Machine:
        return self.sim.world.find_machine("shop")

    async def export(self, target: str = TARGET, *, source: str | None = "snapshot") -> Run:
        """One export to its end, whatever end."""
        return await self.run(JobKind.EXPORT, target, source=source)

    async def act(self) -> Run:
        """What this home's tests break."""
        return await self.run(self.kind, source=self.source)

    async def run(self, kind: JobKind, target: str = TARGET, *, source: str | None = None) -> Run:
        is_of_org = kind is JobKind.CHECK
        lineage_id = ORG_LINEAGE if is_of_org else (await find_lineage(self.application, target)).id
        submission = self.application.submission
        async with submission.submitted(kind, lineage_id, RunRequest(source=source), is_local=True) as run:
            return await submission.see_through(run, watcher=Watcher())

    async def artifacts(self) -> list[Artifact]:
        """In the order they were made."""
        async with self.application.catalog.transaction() as tx:
            return sorted(await tx.artifacts(), key=lambda artifact: artifact.export_id)

    async def entries(self, artifact: Artifact) -> list[Any]:
        async with self.application.verify.entries(artifact, contains=None) as lines:
            return [line async for line in lines]

    async def steps(self, run: Run) -> list[str]:
        async with self.application.catalog.transaction() as tx:
            return [step.name for step in await tx.steps(run.id)]

    def asked(self, app: str) -> list[RecordedRequest]:
        return [request for request in self.sim.requests if request.app == app]

    def workers(self) -> list[Machine]:
        """The machines that were made for a task, gone ones too."""
        of_group = {"fly_process_group": WORKER_GROUP}.items()
        return [one for one in self.sim.world.machines.values() if of_group <= one.config.get("metadata", {}).items()]

    def left(self) -> set[str]:
        """The names of what exists in the app of temporary things."""
        world = self.sim.world
        machines = {one.name for one in world.machines_of(SCRATCH_APP) if one.state != "destroyed"}
        return machines | {one.name for one in world.volumes_of(SCRATCH_APP) if one.state != "pending_destroy"}

    def stored(self) -> set[str]:
        """The keys of all objects in the directory store, half-written ones too."""
        root = self.sim.directory / "store"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def ended_well(run: Run) -> Run:
    """The run; fails with its failure where it has one."""
    assert exit_code(run) == 0, run.outcome
    return run


@asynccontextmanager
async def home(
    directory: Path,
    *,
    scenario: Scenario = SHOP,
    edits: Sequence[tuple[str, str]] = (),
    secrets: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Home]:
    """A new simulated Fly with its own configuration, in which `edits` replace texts."""
    async with flykeep(directory, scenario=scenario) as kit:
        for old, new in edits:
            kit.edit(old, new)
        kit.extra = dict(secrets)
        settings = load_settings(kit.config, kit.environment)
        settings = replace(settings, notifiers=())
        clock = QuickClock()
        async with open_application(settings, clock=clock) as application:
            yield Home(kit, application, clock)

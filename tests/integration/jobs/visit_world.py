"""Visits to a volume of an app that people use, with workers and stores in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from flykeep.domain.errors import FlyUnavailableError
from flykeep.domain.fly import Volume
from flykeep.domain.ids import AppName, MachineId, VolumeId, VolumeName
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, Run, RunState
from flykeep.jobs.context import Journal, TargetWork
from flykeep.jobs.drill_choice import DrillKeys
from flykeep.jobs.probing import Prober
from flykeep.jobs.visiting import Visitor
from flykeep.ports.store import StoreOrder
from tests.integration.jobs.drill_world import DrillWorkers, StandingWorkers
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.scratch_world import Mortal, MortalCatalog, Reaper, ScratchParts, ScratchWorld, SnapshotFly
from tests.unit.domain.builders import volume

SHOP = AppName("my-crocbot")


@dataclass
class LettingGo(ScratchWorld):
    """`polls` are the looks at a volume during which Fly has not noticed that its machine is gone."""

    polls: int = 0
    is_deaf_to_looks: bool = False
    held: dict[str, MachineId] = field(default_factory=dict)

    async def destroy_machine(self, app: AppName, machine_id: MachineId) -> None:
        for one in self.volumes.values():
            if one.attached_machine_id == machine_id:
                self.held[one.id] = machine_id
        await super().destroy_machine(app, machine_id)

    async def volume(self, app: AppName, volume_id: VolumeId) -> Volume:
        if self.is_deaf_to_looks and volume_id in self.held:
            raise FlyUnavailableError("no answer")
        found = await super().volume(app, volume_id)
        if volume_id in self.held and self.polls:
            self.polls -= 1
            return replace(found, attached_machine_id=self.held[volume_id])
        return found

    def machine(self, name: str, *, metadata: dict[str, str] | None = None) -> Any:
        made = replace(super().machine(name, metadata=metadata), app=SHOP)
        self.servers[made.id] = made
        return made


@dataclass
class NamedLinks:
    """ports.store.Links whose links are the keys."""

    asked: list[tuple[str, ...]] = field(default_factory=list)

    def linked(self, order: StoreOrder, keys: Any, *, valid_for: timedelta) -> StoreOrder:
        assert valid_for > timedelta(0)
        self.asked.append(tuple(keys))
        return replace(order, links=tuple((key, f"https://{key}") for key in keys))


@dataclass
class VisitParts:
    """`reaper` decides when the visiting process dies."""

    parts: Parts
    reaper: Reaper = field(default_factory=Reaper)
    hidden: frozenset[str] = frozenset()
    asking: DrillWorkers = field(default_factory=DrillWorkers)
    links: NamedLinks = field(default_factory=NamedLinks)

    def __post_init__(self) -> None:
        self.parts.fly = SnapshotFly(self.parts.clock)
        self.world = LettingGo(self.parts.clock, apps={str(SHOP), "flykeep-scratch"})
        self.scratch = ScratchParts(self.parts, self.parts.fly, self.world)
        self.the_volume = replace(
            volume("vol_new", app=SHOP, machine=None, created_at=self.parts.clock.now()),
            name=VolumeName("crocbot_data"),
        )
        self.world.volumes["vol_new"] = self.the_volume

    @property
    def visitor(self) -> Visitor:
        world: Any = Mortal(self.world, self.reaper)
        catalog: Any = MortalCatalog(self.parts.catalog, self.reaper)
        return Visitor(world, catalog, self.parts.clock, "image@sha256:00")

    @property
    def keys(self) -> DrillKeys:
        index_key = self.parts.keys.index_key
        return DrillKeys(self.parts.bound, self.hidden, self.parts.settler, index_key, lambda: self.parts.identity)

    @property
    def prober(self) -> Prober:
        workers: Any = Mortal(StandingWorkers(self.asking), self.reaper)
        catalog: Any = MortalCatalog(self.parts.catalog, self.reaper)
        return Prober(self.visitor, workers, catalog, self.keys, self.links, timedelta(hours=1))

    @property
    def reconcile(self) -> Any:
        return self.scratch.reconcile

    async def work(self, **changes: Any) -> TargetWork:
        """Of a new run, after the one before it has ended; its journal dies with the process."""
        async with self.parts.catalog.transaction() as tx:
            for before in await tx.runs(is_open=True):
                await tx.finish(before.id, outcome=Outcome(RunState.FAILED), now=self.parts.clock.now())
        run: Run = await self.parts.claimed(**{"kind": JobKind.RESTORE, **changes})
        catalog: Any = MortalCatalog(self.parts.catalog, self.reaper)
        return replace(self.parts.work(run), journal=Journal(run, catalog, self.parts.clock))

    async def names(self, work: TargetWork) -> list[str]:
        return [step.name for step in await self.parts.steps(work.run)]

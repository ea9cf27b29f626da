"""Drills with temporary machines in memory, and rooms of a real directory; a process that can die at any call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flykeep.adapters.launchers.drill_rooms import LocalDrillRooms
from flykeep.domain.agreement import Comparison
from flykeep.domain.drill import DrillMeans
from flykeep.domain.fly import Machine
from flykeep.domain.ids import RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.proof import Timing
from flykeep.domain.run import Run, RunRequest
from flykeep.domain.scratch import ScratchRule
from flykeep.jobs.context import Journal, TargetWork
from flykeep.jobs.drill import DrillJob
from flykeep.jobs.drill_choice import DrillChooser, DrillKeys
from flykeep.jobs.drill_place import DrillPlace
from flykeep.jobs.drill_sweep import DrillSweep
from flykeep.jobs.locating import Locator
from flykeep.jobs.proofs import ProofBook
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.ports.worker import DrillOrder, DrillResult, Progress
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.scratch_world import (
    RULE,
    Mortal,
    MortalCatalog,
    Reaper,
    ScratchParts,
    ScratchWorld,
    SnapshotFly,
)

FINE = DrillResult(
    files=3,
    content_bytes=22,
    probes=(),
    comparison=Comparison(equal=3, changed=0, gone=0, added=0, contradictions=0),
    timings=(Timing("probe", 10),),
)


@dataclass
class DrillWorkers:
    """Both ports of workers: the result, or the first of the errors. `seen` are the orders."""

    result: DrillResult = FINE
    errors: list[BaseException] = field(default_factory=list)
    seen: list[DrillOrder] = field(default_factory=list)
    hold: asyncio.Event | None = None
    began: asyncio.Event = field(default_factory=asyncio.Event)

    def command(self, *, deadline_s: float) -> tuple[str, ...]:
        return ("flykeep", "worker", "stand", str(int(deadline_s)))

    async def carry_out(self, order: DrillOrder) -> DrillResult:
        self.seen.append(order)
        self.began.set()
        if order.restore is not None:
            _fill(Path(order.directory))
        if self.hold is not None:
            await self.hold.wait()
        if self.errors:
            raise self.errors.pop(0)
        return self.result


def _fill(directory: Path) -> None:
    """What a restore into a directory of this machine leaves there."""
    if directory.is_dir():
        (directory / "secret").write_text("in the clear")


@dataclass
class LocalWorkers:
    inner: DrillWorkers

    async def drill(self, order: DrillOrder, *, on_progress: Callable[[Progress], None]) -> DrillResult:
        on_progress(Progress("restore", 0, 0, 0))
        return await self.inner.carry_out(order)


@dataclass
class StandingWorkers:
    inner: DrillWorkers

    def command(self, *, deadline_s: float) -> tuple[str, ...]:
        return self.inner.command(deadline_s=deadline_s)

    async def drill(
        self, machine: Machine, order: DrillOrder, *, on_progress: Callable[[Progress], None]
    ) -> DrillResult:
        assert machine.is_started
        on_progress(Progress("probe", 0, 0, 0))
        return await self.inner.carry_out(order)


@dataclass
class MortalRooms:
    """Directories whose removal a dead process leaves undone."""

    inner: LocalDrillRooms
    reaper: Reaper
    abandoned: list[Any]  # kept from the collector, which would tidy up for the dead

    async def free_bytes(self) -> int:
        return await self.inner.free_bytes()

    @asynccontextmanager
    async def room(self, run_id: RunId) -> AsyncIterator[str]:
        self.reaper.moment()
        context = self.inner.room(run_id)
        self.abandoned.append(context)
        directory = await context.__aenter__()
        try:
            self.reaper.moment()
            yield directory
        finally:
            if not self.reaper.is_dead:
                await context.__aexit__(None, None, None)

    async def left(self) -> Sequence[RunId]:
        return await self.inner.left()

    async def clear(self, run_id: RunId) -> None:
        await self.inner.clear(run_id)


@dataclass
class DrillParts:
    """The job as bootstrap builds it; without machines where `has_machines` is false."""

    parts: Parts
    place: Path
    has_machines: bool = True
    identity: str | None = None
    hidden: frozenset[str] = frozenset()
    rule: ScratchRule = RULE
    free_bytes: int | None = None
    reaper: Reaper = field(default_factory=Reaper)
    drilling: DrillWorkers = field(default_factory=DrillWorkers)
    abandoned: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fly = SnapshotFly(self.parts.clock)
        self.parts.fly = self.fly
        self.world = ScratchWorld(self.parts.clock)
        self.scratch = ScratchParts(self.parts, self.fly, self.world)

    @property
    def rooms(self) -> LocalDrillRooms:
        return LocalDrillRooms(self.place)

    @property
    def book(self) -> ProofBook:
        stores: Any = {name: Mortal(store, self.reaper) for name, store in self.parts.stores.items()}
        catalog: Any = MortalCatalog(self.parts.catalog, self.reaper)
        return ProofBook(catalog, self.parts.clock, stores, self.parts.keys.signer)

    @property
    def job(self) -> DrillJob:
        self.scratch.reaper, self.scratch.rule = self.reaper, self.rule
        catalog: Any = MortalCatalog(self.parts.catalog, self.reaper)
        fly: Any = Mortal(self.fly, self.reaper)
        keys = DrillKeys(
            self.parts.bound, self.hidden, self.parts.settler, self.parts.keys.index_key, lambda: self.identity
        )
        rooms: Any = MortalRooms(self.rooms, self.reaper, self.abandoned)
        if self.free_bytes is not None:
            rooms.free_bytes = self._free
        machines: Any = Mortal(StandingWorkers(self.drilling), self.reaper)
        workers: Any = Mortal(LocalWorkers(self.drilling), self.reaper)
        return DrillJob(
            DrillMeans(self.has_machines, self.identity is not None),
            DrillChooser(
                fly, catalog, Locator(fly, self._refresh), keys, self.rule, self.parts.export.settings.deadline
            ),
            DrillPlace(
                catalog,
                self.parts.clock,
                self.scratch.scratch if self.has_machines else None,
                machines,
                rooms,
                workers,
            ),
            self.book,
            self.parts.clock,
            "0",
        )

    @property
    def reconcile(self) -> ReconcileJob:
        return replace(self.scratch.reconcile, rooms=DrillSweep(self.rooms, self.parts.catalog))

    async def _free(self) -> int:
        return self.free_bytes or 0

    async def _refresh(self) -> Any:
        raise NotImplementedError

    async def claimed(self, *, source: str | None = None, **changes: Any) -> Run:
        return await self.parts.claimed(kind=JobKind.DRILL, request=RunRequest(source=source), **changes)

    def work(self, run: Run) -> TargetWork:
        """Its journal dies with the process."""
        catalog: Any = MortalCatalog(self.parts.catalog, self.reaper)
        return replace(self.parts.work(run), journal=Journal(run, catalog, self.parts.clock))

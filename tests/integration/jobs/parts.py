"""The jobs' neighbours in memory, beside a real catalog and real keys: no wires, and a clock that never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from flykeep.adapters.codecs.keys import StateKeys
from flykeep.adapters.db.engine import open_catalog
from flykeep.adapters.db.owners import open_owners
from flykeep.domain.artifact import IndexEntry, StoredObject, TarTotals
from flykeep.domain.fly import CommandResult, Machine, Volume
from flykeep.domain.ids import OwnerId, RunId
from flykeep.domain.policy import CopyRule, JobKind, Policy, TargetRule
from flykeep.domain.run import Run, RunRequest, RunState, Slot, Step
from flykeep.domain.target import Lineage
from flykeep.jobs.authentic import ArtifactStores
from flykeep.jobs.context import Journal, TargetWork
from flykeep.jobs.export import BoundStore, ExportJob, ExportSettings
from flykeep.jobs.get import GetJob
from flykeep.jobs.reconcile import ReconcileJob
from flykeep.jobs.runner import Jobs, Runner
from flykeep.jobs.settle import Settler
from flykeep.jobs.submission import Submission
from flykeep.jobs.verify import VerifyJob
from flykeep.ports.catalog import Catalog
from flykeep.ports.fly import SshAccess
from flykeep.ports.ownership import Owners
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.ports.worker import (
    CompressionOrder,
    ExportOrder,
    ExportResult,
    ExtractOrder,
    ExtractResult,
    IndexOrder,
    Progress,
    ReachOrder,
    ReachResult,
    VerifyOrder,
    VerifyResult,
)
from flykeep.testing.clock import CountedIds, JumpingClock
from flykeep.testing.stores import MemoryStore
from tests.databases import place_empty_database
from tests.unit.domain.builders import lineage, machine, volume

RULE = TargetRule("my-crocbot/*", Policy("standard", copies=(CopyRule("offsite"), CopyRule("shelf"))))
OWNER = OwnerId("somebody")


class MemoryFly:
    """One volume on one machine."""

    def __init__(self) -> None:
        self.the_volume: Volume = volume()
        self.the_machine: Machine = machine(mounts=("vol_1",))
        self.commands: list[tuple[str, ...]] = []

    async def volume(self, app: str, volume_id: str) -> Volume:
        assert (app, volume_id) == (self.the_volume.app, self.the_volume.id)
        return self.the_volume

    async def machine(self, app: str, machine_id: str) -> Machine:
        assert (app, machine_id) == (self.the_machine.app, self.the_machine.id)
        return self.the_machine

    async def execute(self, _app: str, _machine: str, command: tuple[str, ...], *, within: timedelta) -> CommandResult:
        assert within <= timedelta(minutes=1)
        self.commands.append(command)
        return CommandResult(0, "", "")

    async def access(self, wanted: Machine) -> SshAccess:
        return SshAccess(wanted.name, 22, "root", "key", "certificate")


@dataclass
class MemoryWorkers:
    """ports.worker.Workers that write straight into memory stores; `errors` are raised first, one a call."""

    stores: dict[str, MemoryStore]
    errors: list[BaseException] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)
    orders: list[Any] = field(default_factory=list)
    hold: asyncio.Event | None = None
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def export(self, order: ExportOrder, *, on_progress: Callable[[Progress], None]) -> ExportResult:
        self.orders.append(order)
        store = self.stores[order.store.name]
        data = StoredObject(f"{order.key_prefix}/data.tar.zst.age", 4, "00" * 32)
        await store.put(data.key, b"data")
        on_progress(Progress("storing", 10, 4, 1))
        self.began.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.errors:
            raise self.errors.pop(0)
        index = StoredObject(f"{order.key_prefix}/index.jsonl.zst.age", 5, "11" * 32)
        await store.put(index.key, b"index")
        result = ExportResult((data,), index, TarTotals(1, 1, 1, 10, "22" * 32), (), (), (), "gnu", 0)
        return replace(result, **self.changes)

    async def verify(self, order: VerifyOrder, *, on_progress: Callable[[Progress], None]) -> VerifyResult:
        self.orders.append(order)
        on_progress(Progress("reading back", 0, 4, 0))
        if self.errors:
            raise self.errors.pop(0)
        return VerifyResult(order.level, 9, 1)

    async def extract(self, order: ExtractOrder, *, on_progress: Callable[[Progress], None]) -> ExtractResult:
        self.orders.append(order)
        on_progress(Progress("restoring files", 0, 4, 0))
        return ExtractResult(1, 1, 1, 9)

    async def reach(self, order: ReachOrder) -> ReachResult:
        raise NotImplementedError

    def index(self, order: IndexOrder) -> AbstractAsyncContextManager[AsyncIterator[IndexEntry]]:
        self.orders.append(order)
        return _no_entries()


@asynccontextmanager
async def _no_entries() -> AsyncIterator[AsyncIterator[IndexEntry]]:
    async def none() -> AsyncIterator[IndexEntry]:
        for entry in ():
            yield entry

    yield none()


@dataclass
class Parts:
    """Everything the jobs need, built by hand, and the jobs themselves."""

    catalog: Catalog
    owners: Owners
    keys: StateKeys
    clock: JumpingClock = field(default_factory=JumpingClock)
    ids: CountedIds = field(default_factory=CountedIds)
    fly: MemoryFly = field(default_factory=MemoryFly)
    rule: TargetRule = RULE
    recipients: tuple[str, ...] = ("age1example",)
    identity: str | None = None
    lineage: Lineage = field(default_factory=lineage)
    stores: dict[str, MemoryStore] = field(
        default_factory=lambda: {name: MemoryStore(name) for name in ("offsite", "shelf")}
    )

    def __post_init__(self) -> None:
        self.workers = MemoryWorkers(self.stores)

    @property
    def bound(self) -> dict[str, BoundStore]:
        return {
            name: BoundStore(store, StoreOrder(name=name, type=StoreType.DIRECTORY, path="/nowhere"))
            for name, store in self.stores.items()
        }

    @property
    def export(self) -> ExportJob:
        settings = ExportSettings(
            self.recipients, CompressionOrder(), timedelta(hours=1), timedelta(minutes=2), flykeep_version="0"
        )
        return ExportJob(
            self.fly,  # type: ignore[arg-type]  # only what the job calls
            self.fly,
            self.workers,
            self.bound,
            self.catalog,
            self.clock,
            self.ids,
            self.keys.signer,
            self.keys.index_key,
            settings,
        )

    @property
    def settler(self) -> Settler:
        return Settler(self.catalog, self.clock, self.keys.signer)

    @property
    def reconcile(self) -> ReconcileJob:
        return ReconcileJob(self.catalog, self.owners, self.clock, dict(self.stores), self.settler)

    @property
    def verify(self) -> VerifyJob:
        return VerifyJob(
            self.workers,
            self.bound,
            self.catalog,
            self.clock,
            self.settler,
            self.keys.index_key,
            lambda: self.identity,
            timedelta(hours=1),
        )

    @property
    def get(self) -> GetJob:
        artifacts = ArtifactStores(self.bound, self.settler)
        return GetJob(self.workers, artifacts, self.keys.index_key, lambda: self.identity, timedelta(hours=1))

    @property
    def runner(self) -> Runner:
        jobs = Jobs(for_target={JobKind.EXPORT: self.export}, for_org={JobKind.RECONCILE: self.reconcile})
        return Runner(self.catalog, self.clock, (self.rule,), jobs)

    @property
    def submission(self) -> Submission:
        return Submission(self.catalog, self.clock, self.ids, self.owners, self.runner)

    async def pending(self, *, slot: Slot | None = None, **changes: Any) -> Run:
        run_id = RunId(self.ids.run_id())
        now = self.clock.now()
        fields: dict[str, Any] = {
            "id": run_id,
            "kind": JobKind.EXPORT,
            "lineage_id": self.lineage.id,
            "slot": slot or Slot.manual(run_id),
            "state": RunState.PENDING,
            "requested_at": now,
            "due_at": now,
        }
        run = Run(**(fields | changes))
        async with self.catalog.transaction() as tx:
            assert await tx.add_run(run)
        return run

    async def claimed(self, *, slot: Slot | None = None, owner: OwnerId = OWNER, **changes: Any) -> Run:
        run = await self.pending(slot=slot, **changes)
        async with self.catalog.transaction() as tx:
            assert await tx.claim(run.id, owner_id=owner, now=self.clock.now())
        return await self.again(run)

    async def again(self, run: Run) -> Run:
        async with self.catalog.transaction() as tx:
            found = await tx.run(run.id)
        assert found is not None
        return found

    async def steps(self, run: Run) -> list[Step]:
        async with self.catalog.transaction() as tx:
            return list(await tx.steps(run.id))

    def work(self, run: Run, *, request: RunRequest | None = None) -> TargetWork:
        asked = replace(run, request=request) if request else run
        return TargetWork(asked, self.lineage, self.rule, Journal(run, self.catalog, self.clock))

    async def keys_in(self, name: str) -> list[str]:
        return [found.key for found in await self.stores[name].list("my-crocbot/")]


@asynccontextmanager
async def parts_in(directory: Path) -> AsyncIterator[Parts]:
    url = f"sqlite+aiosqlite:///{directory / 'flykeep.db'}"
    place_empty_database(directory / "flykeep.db")
    async with open_owners(url, directory=directory / "owners") as owners, open_catalog(url) as catalog:
        made = Parts(catalog, owners, StateKeys.load_or_create(directory))
        async with catalog.transaction() as tx:
            await tx.save_lineage(made.lineage)
        yield made

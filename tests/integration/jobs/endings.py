"""Retention and retirement over memory stores, in a process that may die at any of its calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from flykeep.domain.artifact import Artifact
from flykeep.domain.ids import ExportId
from flykeep.domain.policy import CopyRule, JobKind, KeepRule, Policy, TargetRule
from flykeep.domain.run import Outcome, Run, RunRequest
from flykeep.domain.target import ORG_LINEAGE
from flykeep.jobs.agreement import Agreement
from flykeep.jobs.context import Journal, OrgWork
from flykeep.jobs.pins import PinBook
from flykeep.jobs.prune import PruneJob
from flykeep.jobs.removal import Remover
from flykeep.jobs.retention import RetentionPlanner
from flykeep.jobs.retire import RetireJob
from flykeep.ports.catalog import Catalog
from flykeep.ports.store import Store
from flykeep.testing.stores import MemoryStore
from tests.integration.jobs.parts import Parts

DAY = timedelta(days=1)
LOOKALIKE = "my-crocbot/crocbot_data/2026/lookalike/manifest.json"
KEEP_TWO = KeepRule(last=2)


def rules(keep: KeepRule = KEEP_TWO) -> tuple[TargetRule, ...]:
    """Both stores are retained by the same rule."""
    copies = (CopyRule("offsite", keep), CopyRule("shelf", keep))
    return (TargetRule("my-crocbot/*", Policy("standard", copies=copies)),)


class KilledError(BaseException):
    """The process is gone: nothing after this is caught by anybody."""


@dataclass
class Fuse:
    """Counts the calls to the outside, and dies at one of them; -1 never."""

    burns_at: int = -1
    count: int = 0

    def burn(self) -> None:
        self.count += 1
        if self.count == self.burns_at:
            raise KilledError


@dataclass
class MortalCatalog:
    """Dies before a transaction, or right after its commit."""

    inner: Catalog
    fuse: Fuse

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        self.fuse.burn()
        async with self.inner.transaction() as tx:
            yield tx
        self.fuse.burn()

    async def ping(self) -> None:
        await self.inner.ping()


class MortalStore:
    """Dies before a call, or after it has had its effect."""

    def __init__(self, inner: Store, fuse: Fuse) -> None:
        self.inner = inner
        self.fuse = fuse

    @property
    def name(self) -> str:
        return self.inner.name

    def __getattr__(self, name: str) -> Any:
        work = getattr(self.inner, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            self.fuse.burn()
            answer = await work(*arguments, **named)
            if name == "delete":
                self.fuse.burn()
            return answer

        return call


@dataclass
class Endings:
    """The jobs that remove, and one run for each call of them."""

    parts: Parts
    rules: tuple[TargetRule, ...]
    fuse: Fuse
    share: float = 1.0

    @property
    def catalog(self) -> Catalog:
        return MortalCatalog(self.parts.catalog, self.fuse)

    @property
    def stores(self) -> dict[str, MortalStore]:
        return {name: MortalStore(store, self.fuse) for name, store in self.parts.stores.items()}

    @property
    def agreement(self) -> Agreement:
        return Agreement(replace(self.parts.settler, catalog=self.catalog))

    @property
    def remover(self) -> Remover:
        return Remover(self.catalog, self.parts.clock, self.stores)

    @property
    def pins(self) -> PinBook:
        return PinBook(self.catalog, self.parts.clock, self.stores, self.parts.keys.signer)

    @property
    def planner(self) -> RetentionPlanner:
        clock = self.parts.clock
        return RetentionPlanner(self.catalog, clock, self.stores, self.agreement, self.rules, self.share)

    async def work(self, kind: JobKind, **request: Any) -> OrgWork:
        run: Run = await self.parts.pending(kind=kind, lineage_id=ORG_LINEAGE, request=RunRequest(**request))
        return OrgWork(run, Journal(run, self.catalog, self.parts.clock))

    async def prune(self, **request: Any) -> Outcome:
        job = PruneJob(self.catalog, self.parts.clock, self.planner, self.remover)
        return await job.run(await self.work(JobKind.PRUNE, **request))

    @property
    def retire_job(self) -> RetireJob:
        return RetireJob(self.catalog, self.parts.clock, self.stores, self.rules, self.agreement, self.remover)

    async def retire(self, **request: Any) -> Outcome:
        return await self.retire_job.run(
            await self.work(JobKind.RETIRE, lineage_id=self.parts.lineage.id, actor="ops", **request)
        )

    async def recorded(self, store: str | None = None) -> list[Artifact]:
        async with self.parts.catalog.transaction() as tx:
            found = await tx.artifacts(self.parts.lineage.id)
        return [artifact for artifact in found if store in {None, artifact.store}]

    async def ids(self, store: str) -> list[ExportId]:
        return [artifact.export_id for artifact in await self.recorded(store)]

    async def assert_catalog_and_stores_agree(self) -> None:
        """Every artifact that counts is there whole, and nothing stands in a store that nobody would ever remove."""
        recorded = await self.recorded()
        for name, store in self.parts.stores.items():
            present = {found.key for found in await store.list("my-crocbot/")} - {LOOKALIKE}
            wanted = {
                key
                for artifact in recorded
                if artifact.store == name
                for key in (artifact.manifest_key, *(stored.key for stored in artifact.objects))
            }
            assert present == wanted


async def exported(parts: Parts, count: int) -> Endings:
    """One verified artifact a day in both stores, the last now; and an object that only looks like one of them."""
    for _ in range(count):
        await parts.clock.advance(DAY)
        run = await parts.claimed()
        outcome = await parts.export.run(parts.work(run))
        async with parts.catalog.transaction() as tx:
            await tx.finish(run.id, outcome=outcome, now=parts.clock.now())
    async with parts.catalog.transaction() as tx:
        for artifact in await tx.artifacts():
            await tx.record_artifact(replace(artifact, verified_at=parts.clock.now(), verified_level="bytes"))
    await parts.stores["offsite"].put(LOOKALIKE, b"somebody else's")
    return Endings(parts, rules(), Fuse())


def copied(stores: dict[str, MemoryStore]) -> dict[str, MemoryStore]:
    return {name: deepcopy(store) for name, store in stores.items()}

"""Removes one artifact from one store: written down first, then manifest, data, index, and its row last.

Without its manifest an artifact does not exist. From the moment its row says that it is leaving it counts for nothing,
and any later process goes on from wherever this one died.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flykeep.domain.artifact import Artifact, Lock
from flykeep.domain.errors import StoreError, StoreNotFoundError, StoreUnavailableError
from flykeep.domain.ids import ExportId
from flykeep.domain.run import RunState
from flykeep.domain.target import STORES_LINEAGE
from flykeep.jobs.context import Journal
from flykeep.jobs.pins import held_by, is_pinned_in
from flykeep.ports.catalog import Catalog, Transaction
from flykeep.ports.clock import Clock
from flykeep.ports.store import Store

REMOVING = "remove"
REMOVED = "removed"
HELD = "held"
"""Names of the journalled steps of a removal."""


@dataclass(frozen=True, slots=True)
class Removal:
    """How it ended; `held` says why it did not, and `is_locked` that the store refused it."""

    artifact: Artifact
    held: str | None = None
    is_locked: bool = False


@dataclass(frozen=True, slots=True)
class UnendedRemoval:
    """A removal that a dead process had begun; `action` is what was done, or would be."""

    export_id: ExportId
    store: str
    action: str  # "finish" | "kept: <why>"


@dataclass(frozen=True, slots=True)
class Remover:
    catalog: Catalog
    clock: Clock
    stores: Mapping[str, Store]

    async def leaving(self) -> tuple[Artifact, ...]:
        """Those whose removal a process began and did not end."""
        async with self.catalog.transaction() as tx:
            return tuple(artifact for artifact in await tx.artifacts() if artifact.leaving_at is not None)

    async def finish_all(self, *, is_applied: bool) -> tuple[UnendedRemoval, ...]:
        """Go on with each of them; a store that does not answer is asked again next time."""
        found: list[UnendedRemoval] = []
        for artifact in await self.leaving():
            held = None
            if is_applied:
                try:
                    held = (await self.finish(artifact)).held
                except StoreError as error:
                    held = error.message
            found.append(UnendedRemoval(artifact.export_id, artifact.store, f"kept: {held}" if held else "finish"))
        return tuple(found)

    async def remove(self, artifact: Artifact, journal: Journal) -> Removal:
        """Begin and end a removal; raises StoreError where it has begun and the store fails.

        Held back where a run of its target is at work, which may read it, and where somebody has pinned it meanwhile.
        """
        store = self.stores.get(artifact.store)
        if store is None:
            return Removal(artifact, "its store is not configured any more")
        if await is_pinned_in(store, artifact.export_id):
            return Removal(artifact, f"pinned: {held_by(store)}")
        async with self.catalog.transaction() as tx:
            held = await _held_now(tx, artifact)
            if held is None:
                await tx.begin_removal(artifact.export_id, artifact.store, now=self.clock.now())
                await journal.add(
                    tx, REMOVING, export_id=artifact.export_id, store=artifact.store, prefix=artifact.prefix
                )
        if held is not None:
            return Removal(artifact, held)
        return await self._go_on(store, artifact, journal)

    async def finish(self, artifact: Artifact, journal: Journal | None = None) -> Removal:
        """Go on with a removal that had begun."""
        store = self.stores.get(artifact.store)
        if store is None:
            return Removal(artifact, "its store is not configured any more")
        return await self._go_on(store, artifact, journal)

    async def _go_on(self, store: Store, artifact: Artifact, journal: Journal | None) -> Removal:
        try:
            await store.delete(artifact.manifest_key)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            return await self._refused(store, artifact, error, journal)
        for stored in artifact.objects:
            await store.delete(stored.key)
        async with self.catalog.transaction() as tx:
            await tx.forget_artifact(artifact.export_id, artifact.store)
            if journal is not None:
                await journal.add(tx, REMOVED, export_id=artifact.export_id, store=artifact.store)
        return Removal(artifact)

    async def _refused(self, store: Store, artifact: Artifact, error: StoreError, journal: Journal | None) -> Removal:
        """The store keeps the manifest: the artifact is whole, and a backup again."""
        try:
            await store.head(artifact.manifest_key)
        except StoreNotFoundError:
            raise error from None  # it is gone already: what remains is data, to be removed when the store allows it
        until = error.facts.get("locked_until")
        lock = Lock(self.clock.now(), datetime.fromisoformat(until) if until else None, error.message)
        async with self.catalog.transaction() as tx:
            await tx.give_up_removal(artifact.export_id, artifact.store, lock)
            if journal is not None:
                await journal.add(tx, HELD, export_id=artifact.export_id, store=artifact.store, why=error.message)
        return Removal(artifact, error.message, is_locked=True)


async def _held_now(tx: Transaction, artifact: Artifact) -> str | None:
    """What has come between the plan and its execution."""
    if all(copy.store != artifact.store for copy in await tx.artifact(artifact.export_id)):
        return "it is not recorded any more"
    pins = [pin for pin in await tx.pins() if pin.export_id == artifact.export_id]
    if pins:
        return f"pinned: {pins[0].reason}"
    # Only the runs of its target, and those that verify what the stores hold, read artifacts.
    for lineage_id in (artifact.manifest.origin.lineage_id, STORES_LINEAGE):
        for run in await tx.runs(lineage_id=lineage_id, is_open=True):
            if run.state is RunState.RUNNING:
                return f"{run.kind.value} run {run.id} is at work; it may read it"
    return None

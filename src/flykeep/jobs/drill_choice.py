"""What a drill restores, and what it is compared with: orders for a worker, before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from flykeep.domain.artifact import Artifact
from flykeep.domain.drill import DRILL_MOUNT, DrillPlan, reference_artifact, restorable_artifact
from flykeep.domain.errors import ConfigError, IntegrityError, RefusalError
from flykeep.domain.ids import VolumeId
from flykeep.domain.proof import DrillSource
from flykeep.domain.scratch import (
    ScratchPlan,
    ScratchRule,
    newest_restorable_snapshot,
    plan_empty_scratch,
    plan_scratch,
)
from flykeep.jobs.context import TargetWork
from flykeep.jobs.export import BoundStore
from flykeep.jobs.locating import Locator
from flykeep.jobs.settle import Settler
from flykeep.ports.catalog import Catalog
from flykeep.ports.crypto import IndexKey
from flykeep.ports.fly import InventoryReader, SnapshotReader
from flykeep.ports.worker import DrillOrder, IndexReference, VerifyOrder

_UNSTEADY_AT_MOST = 300  # an order must fit through a machine's standard input


class DrillFly(InventoryReader, SnapshotReader, Protocol):
    """What choosing needs of Fly."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One drill to carry out. `scratch` None restores into a directory here; `against` is what it is compared with."""

    source: DrillSource
    volume_id: VolumeId
    order: DrillOrder
    scratch: ScratchPlan | None
    against: Artifact | None
    restored: Artifact | None = None


@dataclass(frozen=True, slots=True)
class DrillKeys:
    """What artifacts are reached and opened by. `hidden` are the stores that a temporary machine cannot see."""

    stores: Mapping[str, BoundStore]
    hidden: frozenset[str]
    settler: Settler
    index_key: IndexKey
    identity: Callable[[], str | None]

    @property
    def visible(self) -> tuple[str, ...]:
        return tuple(name for name in self.stores if name not in self.hidden)

    def reference(self, artifact: Artifact, identity: str | None) -> IndexReference:
        """What a restored tree is compared with; `identity` opens its index."""
        manifest = artifact.manifest
        return IndexReference(
            store=self.stores[artifact.store].order,
            index=manifest.index,
            identity=identity,
            is_encrypted=manifest.encryption == "age",
            artifact_at_s=manifest.started_at.timestamp(),
            include=manifest.origin.paths,
            exclude=manifest.origin.excluded,
            unsteady=tuple(changed.path for changed in manifest.changed),
        )

    def comparable(self, artifacts: Iterable[Artifact]) -> Artifact | None:
        """The newest that a worker can see; an export that saw very many files change says little.

        Their names would not fit into an order.
        """
        artifact = reference_artifact(artifacts, stores=self.visible)
        return artifact if artifact and len(artifact.manifest.changed) <= _UNSTEADY_AT_MOST else None

    def contents(self, artifact: Artifact, identity: str | None, *, deadline: timedelta) -> VerifyOrder:
        """The order to read all of it and to compare it with its index on the way."""
        manifest = artifact.manifest
        return VerifyOrder(
            store=self.stores[artifact.store].order,
            objects=manifest.data,
            index=manifest.index,
            level="contents",
            identity=identity,
            index_identity=identity,
            is_encrypted=manifest.encryption == "age",
            totals=manifest.totals,
            deadline_s=deadline.total_seconds(),
        )


@dataclass(frozen=True, slots=True)
class DrillChooser:
    """What is drilled, for one target at a time."""

    fly: DrillFly
    catalog: Catalog
    locator: Locator
    keys: DrillKeys
    rule: ScratchRule
    deadline: timedelta

    async def choose(self, work: TargetWork, plan: DrillPlan) -> Rehearsal:
        """Raises RefusalError where there is nothing to restore."""
        if plan.source == "artifact":
            return await self._artifact(work, plan)
        return await self._snapshot(work)

    async def _snapshot(self, work: TargetWork) -> Rehearsal:
        lineage = await self.locator.locate(work)
        volume = await self.fly.volume(lineage.app, lineage.volume_id)
        snapshot = newest_restorable_snapshot(await self.fly.snapshots(volume.app, volume.id))
        if snapshot is None or snapshot.created_at is None:
            raise RefusalError(
                "there is no finished snapshot to drill",
                hint="Take one with `flykeep snapshot TARGET`.",
                facts={"app": volume.app, "volume": volume.id},
            )
        against = self.keys.comparable(await self._artifacts(work))
        return Rehearsal(
            source=DrillSource("snapshot", snapshot.created_at, snapshot_id=snapshot.id),
            volume_id=volume.id,
            order=DrillOrder(
                directory=DRILL_MOUNT,
                as_of_s=snapshot.created_at.timestamp(),
                probes=work.rule.probes,
                reference=self.keys.reference(against, self.keys.index_key.identity()) if against else None,
                restore=None,
                deadline_s=self.deadline.total_seconds(),
            ),
            scratch=plan_scratch(self.rule, snapshot=snapshot, volume=volume, run_id=work.run.id),
            against=against,
        )

    async def _artifact(self, work: TargetWork, plan: DrillPlan) -> Rehearsal:
        chosen = restorable_artifact(await self._artifacts(work), stores=self.keys.stores)
        manifest, identity = chosen.manifest, self.keys.identity()
        is_encrypted = manifest.encryption == "age"
        if is_encrypted and identity is None:
            raise ConfigError("this artifact is encrypted", hint="Set `identity_secret` under [encryption].")
        reference = replace(self.keys.reference(chosen, identity), is_exact=True, unsteady=())
        return Rehearsal(
            source=DrillSource("artifact", manifest.started_at, export_id=chosen.export_id, store=chosen.store),
            volume_id=manifest.origin.volume_id,
            order=DrillOrder(
                directory=DRILL_MOUNT,
                as_of_s=manifest.started_at.timestamp(),
                probes=work.rule.probes,
                reference=reference,
                restore=self.keys.contents(chosen, identity, deadline=self.deadline),
                deadline_s=self.deadline.total_seconds(),
            ),
            scratch=None if plan.is_here or chosen.store in self.keys.hidden else self._empty(work, chosen),
            against=chosen,
            restored=chosen,
        )

    def _empty(self, work: TargetWork, chosen: Artifact) -> ScratchPlan:
        origin, totals = chosen.manifest.origin, chosen.manifest.totals
        return plan_empty_scratch(
            self.rule,
            target_app=origin.app,
            region=origin.region,
            content_bytes=totals.content_bytes,
            entries=totals.entries,
            run_id=work.run.id,
        )

    async def _artifacts(self, work: TargetWork) -> tuple[Artifact, ...]:
        async with self.catalog.transaction() as tx:
            return tuple(await tx.artifacts(work.lineage.id))

    async def trust(self, artifact: Artifact) -> None:
        """Raises IntegrityError unless the store holds the manifest that the catalog knows, signed by a trusted key."""
        signed = await self.keys.settler.read(self.keys.stores[artifact.store].store, artifact.manifest_key)
        if signed is None or signed.manifest != artifact.manifest:
            raise IntegrityError(
                "the stored manifest is not the one that was recorded", facts={"export_id": artifact.export_id}
            )

"""The commit point of an export: its manifest, described, signed, written create-only and read back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flykeep.domain import layout, manifest
from flykeep.domain.artifact import (
    LOST,
    Artifact,
    ArtifactOrigin,
    ArtifactOutcome,
    Consistency,
    Manifest,
    SignedManifest,
)
from flykeep.domain.errors import IntegrityError, StorePreconditionError
from flykeep.domain.fly import Volume, VolumeSnapshot
from flykeep.domain.ids import ExportId
from flykeep.domain.plans import ExportPlan
from flykeep.domain.restore_text import RESTORE_TEXT
from flykeep.jobs.context import TargetWork
from flykeep.jobs.store_notes import remember_creates
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.crypto import Signer
from flykeep.ports.store import Store
from flykeep.ports.worker import ExportResult


@dataclass(frozen=True, slots=True)
class Taken:
    """What was read, from where, and how it was held still.

    `snapshot` where it was read from one: then `started_at` is its instant, for no later change is in the contents.
    """

    work: TargetWork
    plan: ExportPlan
    volume: Volume
    export_id: ExportId
    result: ExportResult
    is_made_consistent: bool
    started_at: datetime
    snapshot: VolumeSnapshot | None = None

    @property
    def consistency(self) -> Consistency:
        if self.snapshot is not None:
            return Consistency.SNAPSHOT
        return Consistency.APP if self.is_made_consistent else Consistency.LIVE


@dataclass(frozen=True, slots=True)
class Committer:
    """`recipients` are those the worker encrypted to; none means that nothing is encrypted."""

    catalog: Catalog
    clock: Clock
    signer: Signer
    recipients: tuple[str, ...]
    flykeep_version: str

    async def commit(self, store: Store, prefix: str, taken: Taken) -> Artifact:
        """Write the manifest and read it back; with that the artifact exists, and is recorded.

        Raises StorePreconditionError where a manifest stands there already, IntegrityError where the store gives back
        other bytes than it took.
        """
        await self._explain_restore(store)
        described = self._describe(taken)
        signature = self.signer.sign(manifest.canonical_bytes(described))
        document = manifest.to_document(SignedManifest(described, signature, self.signer.public_hex))
        key = layout.manifest_key(prefix)
        await store.put_new(key, document)
        if await store.get(key) != document:
            raise IntegrityError("the manifest read back differs from the one written", facts={"key": key})
        artifact = Artifact(
            export_id=described.export_id,
            store=store.name,
            manifest_key=key,
            manifest=described,
            recorded_at=self.clock.now(),
        )
        async with self.catalog.transaction() as tx:
            await tx.record_artifact(artifact)
            await remember_creates(tx, store, now=self.clock.now())
        return artifact

    async def _explain_restore(self, store: Store) -> None:
        try:
            await store.put_new(layout.RESTORE_KEY, RESTORE_TEXT.encode())
        except StorePreconditionError:
            return  # written before, perhaps with the operator's own notes

    def _describe(self, taken: Taken) -> Manifest:
        result = taken.result
        return Manifest(
            export_id=taken.export_id,
            origin=_origin(taken),
            consistency=taken.consistency,
            policy=taken.work.rule.policy.name,
            started_at=taken.started_at,
            ended_at=self.clock.now(),
            flykeep_version=self.flykeep_version,
            encryption="age" if self.recipients else "none",
            recipients=self.recipients,
            data=result.data,
            index=result.index,
            totals=result.totals,
            outcome=ArtifactOutcome.DEGRADED if result.changed else ArtifactOutcome.COMPLETE,
            changed=result.changed,
            skipped=result.skipped,
            lost=LOST,
            open_databases=result.open_databases,
            is_partial=taken.plan.is_partial,
        )


def _origin(taken: Taken) -> ArtifactOrigin:
    plan, volume, machine = taken.plan, taken.volume, taken.plan.machine
    return ArtifactOrigin(
        lineage_id=taken.work.lineage.id,
        app=volume.app,
        volume_name=volume.name,
        volume_id=volume.id,
        machine_id=machine.id if machine else None,
        machine_name=machine.name if machine else None,
        machine_state=machine.state if machine else None,
        region=volume.region,
        snapshot_id=taken.snapshot.id if taken.snapshot else None,
        source=plan.source,
        paths=plan.include,
        excluded=plan.exclude,
    )

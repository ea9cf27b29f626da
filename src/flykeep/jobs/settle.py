"""Settling an export whose process ended: adopt it where its manifest commits it, else remove what it left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from flykeep.domain import layout, manifest
from flykeep.domain.artifact import Artifact, SignedManifest
from flykeep.domain.errors import SignatureError, StoreNotFoundError
from flykeep.domain.ids import ExportId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Step
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.crypto import Signer
from flykeep.ports.store import Store

EXPORTING = (JobKind.EXPORT, JobKind.CHECKPOINT)
"""The kinds of runs that make artifacts."""

BEGUN = "export"
COMMITTED = "committed"
SETTLED = "settled"
"""Names of the journalled steps by which the next process knows what this one may have left."""


@dataclass(frozen=True, slots=True)
class ExportIntent:
    """A journalled export: flykeep named this prefix before it wrote there, so it may remove what stands there."""

    export_id: ExportId
    store: str
    prefix: str


def export_intents(steps: Sequence[Step]) -> tuple[ExportIntent, ...]:
    """The exports a run journalled as begun, one per store."""
    details = [json.loads(step.detail) for step in steps if step.name == BEGUN]
    return tuple(ExportIntent(ExportId(one["export_id"]), one["store"], one["prefix"]) for one in details)


def unsettled(steps: Sequence[Step]) -> tuple[ExportIntent, ...]:
    """Those of them that were neither committed nor cleaned up."""
    over = {json.loads(step.detail)["store"] for step in steps if step.name in {COMMITTED, SETTLED}}
    return tuple(intent for intent in export_intents(steps) if intent.store not in over)


@dataclass(frozen=True, slots=True)
class Settled:
    """`artifact` where the export had been committed; else the keys of the objects that were removed, or would be."""

    artifact: Artifact | None = None
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settler:
    """Acts only under the prefix of an export id that a run journalled before it wrote anything there."""

    catalog: Catalog
    clock: Clock
    signer: Signer

    async def settle(self, store: Store, prefix: str, *, is_applied: bool = True) -> Settled:
        """Raises SignatureError for a manifest this daemon did not sign: then nothing is adopted or removed."""
        signed = await self.read(store, layout.manifest_key(prefix))
        if signed is not None:
            artifact = Artifact(
                export_id=signed.manifest.export_id,
                store=store.name,
                manifest_key=layout.manifest_key(prefix),
                manifest=signed.manifest,
                recorded_at=self.clock.now(),
            )
            if is_applied:
                async with self.catalog.transaction() as tx:
                    await tx.record_artifact(artifact)
            return Settled(artifact=artifact)
        keys = tuple(found.key for found in await store.list(prefix + "/"))
        for key in keys if is_applied else ():
            await store.delete(key)
        if is_applied:
            await store.discard_unfinished(prefix + "/")
        return Settled(removed=keys)

    async def read(self, store: Store, key: str) -> SignedManifest | None:
        """The manifest under `key`, its signature verified; None where there is none.

        Raises SignatureError for one that no trusted key signed, and for one that was signed for another place.
        """
        try:
            document = await store.get(key)
        except StoreNotFoundError:
            return None
        signed = manifest.parse(document)
        self.signer.verify(
            manifest.signed_bytes(document), signature_hex=signed.signature_hex, signer_hex=signed.signer_hex
        )
        said = signed.manifest
        keys = [stored.key for stored in (*said.data, said.index)]
        origin = said.origin
        if not layout.belongs_together(
            key, keys, app=origin.app, volume_name=origin.volume_name, export_id=said.export_id
        ):
            raise SignatureError(
                "The manifest was signed for another artifact than the one it stands beside.",
                hint="Somebody copied it there: find out who can write to this store.",
                facts={"key": key, "signed_for": said.export_id},
            )
        return signed

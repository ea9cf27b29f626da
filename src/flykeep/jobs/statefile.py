"""`_state/latest`: what a person needs to rebuild a lost app, kept encrypted beside the artifacts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from flykeep.domain import layout
from flykeep.domain.app_description import description_body
from flykeep.domain.documents import Plain, plain
from flykeep.domain.errors import StoreError
from flykeep.domain.remembering import STATE_FORMAT
from flykeep.domain.signed_json import Json, canonical, instant_text, signed_document
from flykeep.ports.catalog import Catalog, RecordedSnapshot
from flykeep.ports.crypto import Sealer, Signer
from flykeep.ports.store import Store

_SNAPSHOTS = 60


@dataclass(frozen=True, slots=True)
class StateWriter:
    """Sealed to the operator's recipients only: machine configurations may hold what the daemon must not reread."""

    catalog: Catalog
    stores: Mapping[str, Store]
    sealer: Sealer
    signer: Signer
    recipients: tuple[str, ...]
    org: str

    async def write(self) -> tuple[str, ...]:
        """Renew the document in each store that does not hold it for these recipients yet; the stores written to.

        The digest is remembered only after the store has taken the document. Every store is tried; then the first
        StoreError is raised.
        """
        body = await self._document()
        document = self._signed(body)
        digest = hashlib.sha256("\n".join(self.recipients).encode() + canonical(body)).hexdigest()
        written: list[str] = []
        failures: list[StoreError] = []
        for name, store in self.stores.items():
            note = f"state_digest:{name}"
            async with self.catalog.transaction() as tx:
                if await tx.note(note) == digest:
                    continue
            try:
                await store.put(layout.STATE_KEY, self.sealer.seal(document, recipients=self.recipients))
            except StoreError as error:
                error.with_facts(store=name)
                failures.append(error)
                continue
            async with self.catalog.transaction() as tx:
                await tx.save_note(note, digest)
            written.append(name)
        if failures:
            raise failures[0]
        return tuple(written)

    def _signed(self, body: Json) -> bytes:
        """Whoever can write to the store can seal to the recipients too: only the signature says who wrote it."""
        signature_hex = self.signer.sign(canonical(body))
        return signed_document(body, signature_hex=signature_hex, signer_hex=self.signer.public_hex)

    async def _document(self) -> Json:
        """Only what changes when Fly's things change: no instants of reading, or every check would rewrite it."""
        lineages: list[Plain] = []
        async with self.catalog.transaction() as tx:
            saved = [each.description for each in await tx.descriptions()]
            for lineage in await tx.lineages(include_retired=True):
                config = await tx.machine_config(lineage.id)
                snapshots = await tx.recorded_snapshots(lineage.id)
                lineages.append(
                    {
                        "id": lineage.id,
                        "app": lineage.app,
                        "volume_name": lineage.volume_name,
                        "volume_ids": plain(lineage.volume_ids),
                        "first_seen_at": instant_text(lineage.first_seen_at),
                        "is_retired": lineage.is_retired,
                        "machine_id": lineage.machine_id,
                        "machine_name": lineage.machine_name,
                        "machine_config": json.loads(config) if config else None,
                        "snapshots": [_snapshot(row) for row in snapshots[:_SNAPSHOTS]],
                    }
                )
        return {
            "format": STATE_FORMAT,
            "org": self.org,
            "signer": self.signer.public_hex,
            "lineages": lineages,
            "apps": [description_body(each) for each in saved if each is not None],
        }


def _snapshot(row: RecordedSnapshot) -> dict[str, Plain]:
    created_at = row.snapshot.created_at
    return {
        "id": row.snapshot.id,
        "volume_id": row.volume_id,
        "created_at": instant_text(created_at) if created_at else None,
    }

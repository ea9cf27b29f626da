"""Pins stand in the stores beside the artifacts, so that they outlive the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flykeep.domain import layout, pin_document
from flykeep.domain.errors import IntegrityError, NotFoundError, StoreError, StoreNotFoundError
from flykeep.domain.holds import AuditAction, AuditEntry, Pin
from flykeep.domain.ids import ExportId
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.crypto import Signer
from flykeep.ports.store import Store

_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class NotStored:
    """A store that did not take a pin, and why."""

    store: str
    reason: str


@dataclass(frozen=True, slots=True)
class PinBook:
    """Holds artifacts, and lets go of them, in the catalog and in the stores."""

    catalog: Catalog
    clock: Clock
    stores: Mapping[str, Store]
    signer: Signer

    async def pin(self, export_id: ExportId, *, reason: str, actor: str) -> tuple[NotStored, ...]:
        """Hold it, here and in each store that has it; returns the stores that did not take the pin.

        The catalog comes first: a prune at work sees it there. Raises NotFoundError.
        """
        pin = Pin(export_id, reason, self.clock.now(), actor)
        async with self.catalog.transaction() as tx:
            copies = await tx.artifact(export_id)
            if not copies:
                raise NotFoundError(f"there is no artifact {export_id}")
            await tx.pin(pin)
            await tx.add_audit(AuditEntry(pin.pinned_at, actor, AuditAction.PINNED, export_id, reason))
        signature = self.signer.sign(pin_document.canonical_bytes(pin))
        document = pin_document.to_document(pin, signature_hex=signature, signer_hex=self.signer.public_hex)
        tried = [await self._put(copy.store, export_id, document) for copy in copies]
        return tuple(each for each in tried if each is not None)

    async def unpin(self, export_id: ExportId, *, reason: str, actor: str) -> bool:
        """Let go of it everywhere, in the catalog last; whether it was pinned anywhere.

        Raises NotFoundError; StoreError where a store keeps its pin, and then the artifact stays pinned.
        """
        was_stored = False
        for store in self.stores.values():
            if await is_pinned_in(store, export_id):
                was_stored = True
                await store.delete(layout.pin_key(export_id))
        async with self.catalog.transaction() as tx:
            was_pinned = await tx.unpin(export_id) or was_stored
            if not was_pinned and not await tx.artifact(export_id):
                raise NotFoundError(f"there is no artifact {export_id}")
            if was_pinned:
                await tx.add_audit(AuditEntry(self.clock.now(), actor, AuditAction.UNPINNED, export_id, reason))
        return was_pinned

    async def _put(self, name: str, export_id: ExportId, document: bytes) -> NotStored | None:
        if name not in self.stores:
            return NotStored(name, "it is not configured any more")
        try:
            await self.stores[name].put(layout.pin_key(export_id), document)
        except StoreError as error:
            return NotStored(name, error.message)
        return None


def held_by(store: Store) -> str:
    """Why an artifact stays whose pin stands in `store` alone."""
    return f"by its pin in store {store.name}, which this database does not know"


async def is_pinned_in(store: Store, export_id: ExportId) -> bool:
    """Whether a pin of it stands in the store. Who signed it is not asked: in doubt an artifact is kept."""
    try:
        await store.head(layout.pin_key(export_id))
    except StoreNotFoundError:
        return False
    return True


async def pinned_in(store: Store) -> frozenset[ExportId]:
    """All whose pin stands in the store, whoever signed it."""
    found = [layout.pinned_id_of(each.key) for each in await store.list(layout.PINS_PREFIX)]
    return frozenset(export_id for export_id in found if export_id is not None)


async def believed_pin(store: Store, key: str, signer: Signer) -> Pin | None:
    """None where it was removed meanwhile.

    Raises IntegrityError for what is no pin of a trusted signer at its own place.
    """
    try:
        document = await store.get(key, limit_bytes=_LIMIT_BYTES)
    except StoreNotFoundError:
        return None
    pin, signature_hex, signer_hex = pin_document.parse(document)
    signer.verify(pin_document.signed_bytes(document), signature_hex=signature_hex, signer_hex=signer_hex)
    if key != layout.pin_key(pin.export_id):
        raise IntegrityError("the pin stands in another pin's place")
    return pin

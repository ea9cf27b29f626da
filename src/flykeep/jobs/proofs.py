"""Proofs go out signed, and come back believed only where somebody trusted signed them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta

from flykeep.domain import layout, proof
from flykeep.domain.errors import IntegrityError, StoreError, StorePreconditionError
from flykeep.domain.proof import Proof, ProofFlaw, RecordedProof, SignedProof
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.crypto import Signer
from flykeep.ports.store import Store

_LIMIT_BYTES = 4 << 20
_READ_AT_ONCE = 200
_AHEAD = timedelta(hours=1)  # a proof from the future would never grow old


@dataclass(frozen=True, slots=True)
class Kept:
    """A recorded proof; `not_stored` are the stores that did not take it."""

    recorded: RecordedProof
    not_stored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProofBook:
    """`signer` signs with the daemon's key and believes it, and those that the configuration trusts with drills."""

    catalog: Catalog
    clock: Clock
    stores: Mapping[str, Store]
    signer: Signer

    async def keep(self, made: Proof, *, stores: Iterable[str]) -> Kept:
        """Sign it, write it into each of `stores`, record it; a store that fails does not keep it from the others."""
        signature = self.signer.sign(proof.canonical_bytes(made))
        document = proof.to_document(SignedProof(made, signature, self.signer.public_hex))
        key = layout.proof_key(made.app, made.volume_name, made.proof_id)
        failed = [name for name in stores if not await self._put(self.stores[name], key, document)]
        recorded = RecordedProof(made, self.signer.public_hex, self.clock.now())
        async with self.catalog.transaction() as tx:
            await tx.record_proof(recorded)
        return Kept(recorded, tuple(failed))

    async def _put(self, store: Store, key: str, document: bytes) -> bool:
        try:
            await store.put_new(key, document)
        except StorePreconditionError:
            return await store.get(key, limit_bytes=_LIMIT_BYTES) == document  # an answer that was lost
        except StoreError:
            return False
        return True

    async def read_new(self) -> tuple[ProofFlaw, ...]:
        """Record the proofs that are new in the stores; those nobody may believe come back, with the reason.

        Of a store that cannot be read, what was refused before stands.
        """
        flaws: list[ProofFlaw] = []
        for name, store in self.stores.items():
            note = f"proofs_refused:{name}"
            try:
                found = await self._read_store(name, store)
            except StoreError:
                async with self.catalog.transaction() as tx:
                    known = await tx.note(note)
                flaws += [ProofFlaw(**flaw) for flaw in json.loads(known or "[]")]
                continue
            async with self.catalog.transaction() as tx:
                await tx.save_note(note, json.dumps([asdict(flaw) for flaw in found]))
            flaws += found
        return tuple(flaws)

    async def _read_store(self, name: str, store: Store) -> list[ProofFlaw]:
        listed = await store.list(layout.PROOFS_PREFIX)
        async with self.catalog.transaction() as tx:
            known = await tx.proof_ids()
        fresh = [found.key for found in listed if layout.proof_id_of(found.key) not in known]
        flaws = []
        for key in fresh[-_READ_AT_ONCE:]:
            try:
                recorded = self._believed(key, await store.get(key, limit_bytes=_LIMIT_BYTES))
            except IntegrityError as error:
                flaws.append(ProofFlaw(name, key, error.message))
                continue
            async with self.catalog.transaction() as tx:
                await tx.record_proof(recorded)
        return flaws

    def _believed(self, key: str, document: bytes) -> RecordedProof:
        """Raises IntegrityError for whatever is not a proof of a trusted signer, at its own place and time."""
        signed = proof.parse(document)
        self.signer.verify(
            proof.signed_bytes(document), signature_hex=signed.signature_hex, signer_hex=signed.signer_hex
        )
        made, now = signed.proof, self.clock.now()
        if key != layout.proof_key(made.app, made.volume_name, made.proof_id):
            raise IntegrityError("the proof stands in another proof's place")
        if made.ended_at > now + _AHEAD:
            raise IntegrityError("the proof is dated in the future")
        return RecordedProof(made, signed.signer_hex, now)

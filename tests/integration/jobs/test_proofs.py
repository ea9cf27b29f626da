"""Proofs in the stores: believed where a trusted key signed them, at their own place and time; told otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flykeep.adapters.codecs.keys import StateKeys
from flykeep.domain import layout
from flykeep.domain.errors import StoreError, StoreUnavailableError
from flykeep.domain.proof import Proof, ProofOutcome, SignedProof, canonical_bytes, to_document
from flykeep.jobs.proofs import ProofBook
from flykeep.testing.contracts.catalog_samples import LINEAGE, a_proof
from flykeep.testing.stores import MemoryStore
from tests.integration.jobs.parts import Parts


@pytest.fixture
def laptop(tmp_path: Path) -> StateKeys:
    return StateKeys.load_or_create(tmp_path / "laptop")


def book_of(parts: Parts, *trusted: str) -> ProofBook:
    return ProofBook(parts.catalog, parts.clock, dict(parts.stores), parts.keys.signer.trusting(trusted))


def made_at(parts: Parts, **changes: Any) -> Proof:
    now = parts.clock.now()
    return replace(a_proof("01PROOF").proof, started_at=now, ended_at=now, probes=(), **changes)


def document_of(proof: Proof, keys: StateKeys) -> bytes:
    signature = keys.signer.sign(canonical_bytes(proof))
    return to_document(SignedProof(proof, signature, keys.signer.public_hex))


async def put(store: MemoryStore, proof: Proof, document: bytes) -> str:
    key = layout.proof_key(proof.app, proof.volume_name, proof.proof_id)
    await store.put(key, document)
    return key


async def believed(parts: Parts) -> list[str]:
    async with parts.catalog.transaction() as tx:
        return [one.proof.proof_id for one in await tx.proofs(LINEAGE)]


async def test_a_proof_of_a_trusted_signer_is_believed_once(parts: Parts, laptop: StateKeys) -> None:
    proof = made_at(parts)
    await put(parts.stores["offsite"], proof, document_of(proof, laptop))
    assert [flaw.why for flaw in await book_of(parts).read_new()] == [
        "The document was signed by a key this flykeep does not trust."
    ]
    assert await believed(parts) == []
    trusting = book_of(parts, laptop.signer.public_hex)
    assert await trusting.read_new() == ()
    assert await trusting.read_new() == ()
    assert await believed(parts) == ["01PROOF"]


async def test_whom_drills_are_believed_of_is_not_believed_of_manifests(parts: Parts, laptop: StateKeys) -> None:
    trusting = book_of(parts, laptop.signer.public_hex)
    signature = laptop.signer.sign(b"x")
    trusting.signer.verify(b"x", signature_hex=signature, signer_hex=laptop.signer.public_hex)
    with pytest.raises(Exception, match="does not trust"):
        parts.keys.signer.verify(b"x", signature_hex=signature, signer_hex=laptop.signer.public_hex)


def _passed(document: bytes) -> bytes:
    return json.dumps(json.loads(document) | {"outcome": "passed", "reason": None}).encode()


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (_passed, "altered after it was written"),
        (lambda _: b"{}", "format"),
        (lambda _: b"no json", "JSON"),
    ],
)
async def test_a_forged_proof_is_told_and_never_counts(
    parts: Parts, forge: Callable[[bytes], bytes], words: str
) -> None:
    proof = replace(made_at(parts), outcome=ProofOutcome.FAILED, reason="it was empty")
    key = await put(parts.stores["offsite"], proof, forge(document_of(proof, parts.keys)))
    [flaw] = await book_of(parts).read_new()
    assert (flaw.store, flaw.key) == ("offsite", key)
    assert words in flaw.why
    assert await believed(parts) == []


async def test_a_proof_in_anothers_place_or_of_tomorrow_is_told(parts: Parts) -> None:
    proof = made_at(parts)
    await parts.stores["offsite"].put("_proofs/other/volume/01.json", document_of(proof, parts.keys))
    early = replace(proof, ended_at=parts.clock.now() + timedelta(days=300))
    await put(parts.stores["shelf"], early, document_of(early, parts.keys))
    flaws = await book_of(parts).read_new()
    assert [flaw.why for flaw in flaws] == [
        "the proof stands in another proof's place",
        "the proof is dated in the future",
    ]


async def test_a_store_that_cannot_be_read_keeps_what_was_told_of_it(parts: Parts) -> None:
    proof = made_at(parts)
    await put(parts.stores["offsite"], proof, b"{}")
    told = await book_of(parts).read_new()
    parts.stores["offsite"].fail_with(StoreUnavailableError("no answer"))
    assert await book_of(parts).read_new() == told
    await parts.stores["offsite"].delete(told[0].key)
    assert await book_of(parts).read_new() == ()
    parts.stores["offsite"].fail_with(StoreUnavailableError("no answer"))
    assert await book_of(parts).read_new() == ()


async def test_a_store_that_is_broken_from_the_start_tells_nothing(parts: Parts) -> None:
    parts.stores["offsite"].fail_with(StoreError("no answer"))
    assert await book_of(parts).read_new() == ()


async def test_keys_that_are_no_proofs_place_are_read_and_told(parts: Parts) -> None:
    for key in ("_proofs/a", "_proofs/a/b/c.txt", "_proofs/a/~ff/c.json", "_proofs/a/b/~ff.json"):
        await parts.stores["offsite"].put(key, b"{}")
    assert len(await book_of(parts).read_new()) == 4


async def test_an_answer_that_was_lost_is_recognized_and_anothers_object_is_not_replaced(parts: Parts) -> None:
    book, proof = book_of(parts), made_at(parts)
    kept = await book.keep(proof, stores=["offsite"])
    assert kept.not_stored == ()
    again = await book.keep(proof, stores=["offsite"])
    assert again.not_stored == ()
    other = replace(proof, policy="other")
    assert (await book.keep(other, stores=["offsite", "shelf"])).not_stored == ("offsite",)

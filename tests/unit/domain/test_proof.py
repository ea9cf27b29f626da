"""Proofs are for ever: what is signed, what is stored, what is read again, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flykeep.domain.agreement import Comparison, Difference
from flykeep.domain.errors import IntegrityError
from flykeep.domain.ids import AppName, ExportId, LineageId, ProofId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.layout import proof_id_of, proof_key
from flykeep.domain.probes import ProbeOutcome
from flykeep.domain.proof import (
    Against,
    Contents,
    DrillSource,
    Proof,
    ProofOutcome,
    RecordedProof,
    SignedProof,
    Timing,
    canonical_bytes,
    newest,
    newest_passed,
    parse,
    signed_bytes,
    to_document,
)
from flykeep.domain.wording import printable, took

GOLDEN = Path(__file__).parents[2] / "data" / "proofs"
AT = datetime(2026, 3, 2, 12, 0, 0, 250_000, tzinfo=UTC)

FULL = Proof(
    proof_id=ProofId("01KPROOF"),
    lineage_id=LineageId("lineage-1"),
    app=AppName("my-crocbot"),
    volume_name=VolumeName("crocbot_data"),
    volume_id=VolumeId("vol_1"),
    policy="critical",
    source=DrillSource("snapshot", AT - timedelta(hours=6), snapshot_id=SnapshotId("vs_1")),
    started_at=AT,
    ended_at=AT + timedelta(minutes=5),
    flykeep_version="0.1.0",
    outcome=ProofOutcome.FAILED,
    reason="json crocbot.json: no such file",
    contents=Contents(files=3, content_bytes=22),
    probes=(
        ProbeOutcome("exists credentials", is_passed=True, detail="1 found"),
        ProbeOutcome("json crocbot.json", is_passed=False, detail="no such file"),
    ),
    against=Against(
        ExportId("01KEXPORT"),
        "offsite",
        AT - timedelta(days=3),
        Comparison(5, 1, 2, 3, 1, (Difference("caf\udce9", "has other content"),)),
    ),
    timings=(
        Timing("volume", 200_000, is_restore=True),
        Timing("machine", 52_400, is_restore=True),
        Timing("probe", 900),
    ),
)
PLAIN = replace(
    FULL,
    source=DrillSource("artifact", AT, export_id=ExportId("01KEXPORT"), store="offsite"),
    outcome=ProofOutcome.PASSED,
    reason=None,
    contents=None,
    probes=(),
    against=None,
    timings=(),
)


def signed(proof: Proof) -> SignedProof:
    return SignedProof(proof, "5a" * 64, "c3" * 32)


@pytest.mark.parametrize(("name", "proof"), [("v1-full", FULL), ("v1-plain", PLAIN)])
def test_the_golden_files_of_version_1_are_read_and_written_as_ever(name: str, proof: Proof) -> None:
    document = (GOLDEN / f"{name}.json").read_bytes()
    assert parse(document) == signed(proof)
    assert to_document(signed(proof)) == document
    assert signed_bytes(document) == canonical_bytes(proof) == (GOLDEN / f"{name}.canonical").read_bytes()


def test_fields_of_a_later_version_are_ignored_and_signed() -> None:
    body = json.loads(to_document(signed(FULL))) | {"later": 1}
    document = json.dumps(body).encode()
    assert parse(document).proof == FULL
    assert b'"later":1' in signed_bytes(document)


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda body: body.pop(name)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda body: body.update(format=2), "format 2"),
        (lambda body: body.update(format=0), "format 0"),
        (lambda body: body.update(outcome="perhaps"), "outcome"),
        (lambda body: body.update(outcome="passed"), "reason"),
        (lambda body: body.update(reason=None), "reason"),
        (lambda body: body["source"].update(kind="artifact"), "source.kind"),
        (lambda body: body["source"].update(export_id="X"), "source.kind"),
        (lambda body: body["probes"][0].update(is_passed=1), "is_passed"),
        (lambda body: body["timings"][0].update(took_ms=1.5), "JSON"),
        (lambda body: body["against"].update(equal=-1), "against.equal"),
        (lambda body: body["signature"].update(algorithm="rsa"), "algorithm"),
        (lambda body: body["signature"].update(signature="00"), "signature"),
        *((_without(name), name) for name in ("proof_id", "lineage_id", "against", "contents", "ended_at")),
    ],
)
def test_what_is_no_whole_proof_is_refused(spoil: Callable[[dict[str, Any]], object], words: str) -> None:
    body = json.loads(to_document(signed(FULL)))
    spoil(body)
    with pytest.raises(IntegrityError, match=words) as refused:
        parse(json.dumps(body).encode())
    assert "proof" in refused.value.message


def test_the_measured_rto_is_what_a_restore_would_take_too() -> None:
    assert FULL.restore_took == timedelta(seconds=252.4)
    assert took(FULL.restore_took) == "4 min 12 s"
    assert [took(timedelta(seconds=seconds)) for seconds in (0.4, 48, 120, 3780)] == [
        "under 1 s",
        "48 s",
        "2 min",
        "1 h 3 min",
    ]


def test_the_newest_proof_and_the_newest_that_passed_are_found() -> None:
    failed = RecordedProof(FULL, "c3" * 32, AT)
    passed = RecordedProof(replace(PLAIN, ended_at=AT), "c3" * 32, AT)
    older = RecordedProof(replace(PLAIN, ended_at=AT - timedelta(days=1)), "c3" * 32, AT)
    assert newest((older, failed, passed)) == failed
    assert newest_passed((older, failed, passed)) == passed
    assert newest(()) is None
    assert newest_passed((failed,)) is None


def test_a_proof_stands_below_its_target() -> None:
    key = proof_key(AppName("my-crocbot"), VolumeName("crocbot.data"), ProofId("01K"))
    assert key == "_proofs/my-crocbot/crocbot~2edata/01K.json"


@pytest.mark.parametrize(
    ("key", "proof_id"),
    [
        ("_proofs/my-crocbot/crocbot~2edata/01K.json", "01K"),
        ("_proofs/a/b", None),
        ("_proofs/a/b/c.txt", None),
        ("_proofs/a/b/~ff.json", None),
        ("proofs/a/b/c.json", None),
    ],
)
def test_a_key_says_which_proof_must_stand_there(key: str, proof_id: str | None) -> None:
    assert proof_id_of(key) == proof_id


def test_names_that_are_no_utf8_are_written_out() -> None:
    assert printable("caf\udce9") == r"caf\xe9"

"""Manifests are for ever: what is signed, what is stored, what is read again, what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.artifact import (
    ArtifactOrigin,
    ArtifactOutcome,
    ChangedFile,
    Consistency,
    Manifest,
    SignedManifest,
    StoredObject,
    TarTotals,
)
from flykeep.domain.errors import IntegrityError
from flykeep.domain.ids import AppName, ExportId, LineageId, MachineId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.manifest import canonical_bytes, parse, signed_bytes, to_document

GOLDEN = Path(__file__).parents[2] / "data" / "manifests"

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HEX32 = st.binary(min_size=32, max_size=32).map(bytes.hex)
HEX64 = st.binary(min_size=64, max_size=64).map(bytes.hex)
COUNT = st.integers(0, 2**63)
PATHS = st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))
KEYS = st.from_regex(r"[a-z0-9~_-]{1,8}(/[a-z0-9~_.-]{2,8}x){0,3}", fullmatch=True)
STORED = st.builds(StoredObject, key=KEYS, size_bytes=COUNT, sha256=HEX32)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INSTANTS = st.datetimes(datetime(1000, 1, 3), datetime(9999, 1, 1), timezones=OFFSETS)  # noqa: DTZ001
ORIGINS = st.builds(
    ArtifactOrigin,
    lineage_id=TEXT.map(LineageId),
    app=TEXT.map(AppName),
    volume_name=TEXT.map(VolumeName),
    volume_id=TEXT.map(VolumeId),
    machine_id=st.none() | TEXT.map(MachineId),
    machine_name=st.none() | TEXT,
    machine_state=st.none() | TEXT,
    region=TEXT,
    snapshot_id=st.none() | TEXT.map(SnapshotId),
    source=TEXT,
    paths=st.lists(PATHS).map(tuple),
    excluded=st.lists(PATHS).map(tuple),
)
ENCRYPTIONS = st.just(("none", ())) | st.lists(TEXT, min_size=1).map(lambda keys: ("age", tuple(keys)))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    encryption, recipients = draw(ENCRYPTIONS)
    return Manifest(
        export_id=ExportId(draw(TEXT)),
        origin=draw(ORIGINS),
        consistency=draw(st.sampled_from(Consistency)),
        policy=draw(TEXT),
        started_at=draw(INSTANTS),
        ended_at=draw(INSTANTS),
        flykeep_version=draw(TEXT),
        encryption=encryption,
        recipients=recipients,
        data=tuple(draw(st.lists(STORED, min_size=1, max_size=3))),
        index=draw(STORED),
        totals=draw(st.builds(TarTotals, COUNT, COUNT, COUNT, COUNT, HEX32)),
        outcome=draw(st.sampled_from(ArtifactOutcome)),
        changed=tuple(draw(st.lists(st.builds(ChangedFile, PATHS, TEXT), max_size=3))),
        skipped=tuple(draw(st.lists(PATHS, max_size=3))),
        lost=tuple(draw(st.lists(TEXT, max_size=3))),
        open_databases=tuple(draw(st.lists(PATHS, max_size=3))),
        is_partial=draw(st.booleans()),
    )


@given(manifests(), HEX64, HEX32)
def test_what_is_stored_reads_back_as_what_was_written(manifest: Manifest, signature: str, signer: str) -> None:
    signed = SignedManifest(manifest, signature, signer)
    document = to_document(signed)

    assert parse(document) == signed
    assert signed_bytes(document) == canonical_bytes(manifest)


@given(manifests())
def test_signed_bytes_have_sorted_keys_no_white_space_and_no_signature(manifest: Manifest) -> None:
    canonical = canonical_bytes(manifest)
    body = json.loads(canonical)

    assert canonical.decode() == json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert "signature" not in body


def golden_manifest() -> SignedManifest:
    return SignedManifest(
        manifest=Manifest(
            export_id=ExportId("01K0EXPORT0000000000000001"),
            origin=ArtifactOrigin(
                lineage_id=LineageId("0123456789abcdef0123456789abcdef"),
                app=AppName("my-crocbot"),
                volume_name=VolumeName("crocbot_data"),
                volume_id=VolumeId("vol_4xk9v8r2m1p7q3nz"),
                machine_id=MachineId("148ed193b01738"),
                machine_name="weathered-moon-42",
                machine_state="started",
                region="fra",
                snapshot_id=None,
                source="ssh",
                paths=("crocbot.json", "agents/**"),
                excluded=("logs/**",),
            ),
            consistency=Consistency.LIVE,
            policy="critical",
            started_at=datetime(2026, 11, 22, 4, 0, 0, tzinfo=UTC),
            ended_at=datetime(2026, 11, 22, 4, 0, 12, 345678, tzinfo=UTC),
            flykeep_version="0.1.0",
            encryption="age",
            recipients=("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",),
            data=(
                StoredObject("my-crocbot/crocbot_data/2026/01K0/data.tar.zst.age.00001", 5_368_709_120, "aa" * 32),
                StoredObject("my-crocbot/crocbot_data/2026/01K0/data.tar.zst.age.00002", 123, "bb" * 32),
            ),
            index=StoredObject("my-crocbot/crocbot_data/2026/01K0/index.jsonl.zst.age", 4096, "cc" * 32),
            totals=TarTotals(
                entries=7, files=5, content_bytes=6_000_000_000, tar_bytes=6_000_010_240, tar_sha256="dd" * 32
            ),
            outcome=ArtifactOutcome.DEGRADED,
            changed=(ChangedFile("logs/größe.log", "changed"), ChangedFile("bad-\udcff\udcfe.txt", "vanished")),
            skipped=("run/app.sock", "run/\udce4.sock"),
            lost=("extended attributes",),
            open_databases=("db/app.sqlite-wal",),
        ),
        signature_hex="0f" * 64,
        signer_hex="1e" * 32,
    )


def test_the_first_golden_manifest_is_still_written_byte_for_byte() -> None:
    assert to_document(golden_manifest()) == (GOLDEN / "v1-full.json").read_bytes()
    assert canonical_bytes(golden_manifest().manifest) == (GOLDEN / "v1-full.canonical").read_bytes()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v1-*.json")), ids=lambda path: path.stem)
def test_every_manifest_ever_kept_still_reads_and_still_covers_the_same_bytes(path: Path) -> None:
    document = path.read_bytes()

    parse(document)

    assert signed_bytes(document) == path.with_suffix(".canonical").read_bytes()


def test_the_golden_manifest_reads_as_the_facts_it_was_made_from() -> None:
    assert parse((GOLDEN / "v1-full.json").read_bytes()) == golden_manifest()


def test_fields_of_a_later_flykeep_are_ignored_but_stay_signed() -> None:
    document = (GOLDEN / "v1-later-fields.json").read_bytes()

    assert parse(document).manifest.origin.app == "my-crocbot"
    assert b"x_later" in signed_bytes(document)
    assert signed_bytes(document) != canonical_bytes(parse(document).manifest)


def test_an_instant_in_another_zone_is_written_in_utc() -> None:
    at = datetime(2026, 11, 22, 5, 0, tzinfo=timezone(timedelta(hours=1)))
    manifest = replace(golden_manifest().manifest, started_at=at)

    assert b'"started_at":"2026-11-22T04:00:00Z"' in canonical_bytes(manifest)


def test_a_newer_format_is_refused_with_the_advice_to_update() -> None:
    document = altered(lambda body: body.update(format=2, data="something else"))

    with pytest.raises(IntegrityError, match="format 2") as caught:
        parse(document)

    assert "update flykeep" in caught.value.next_step


def altered(change: Callable[[dict[str, Any]], object]) -> bytes:
    body = json.loads(to_document(golden_manifest()))
    change(body)
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("format", lambda body: body.update(format=0)),
        ("format", lambda body: body.update(format="1")),
        ("format", lambda body: body.update(format=True)),
        ("format", lambda body: body.pop("format")),
        ("app", lambda body: body.pop("app")),
        ("app", lambda body: body.update(app=None)),
        ("machine_id", lambda body: body.pop("machine_id")),
        ("machine_id", lambda body: body.update(machine_id=7)),
        ("started_at", lambda body: body.update(started_at="2026-11-22T04:00:00")),
        ("started_at", lambda body: body.update(started_at="2026-11-22T04:00:00+01:00")),
        ("started_at", lambda body: body.update(started_at="2026-02-30T04:00:00Z")),
        ("consistency", lambda body: body.update(consistency="hoped")),
        ("outcome", lambda body: body.update(outcome="fine")),
        ("encryption", lambda body: body.update(encryption="none")),
        ("encryption", lambda body: body.update(recipients=[])),
        ("encryption", lambda body: body.update(encryption="rot13")),
        ("recipients", lambda body: body.update(recipients=[1])),
        ("data", lambda body: body.update(data=[])),
        ("data", lambda body: body.update(data={})),
        ("data[0]", lambda body: body.update(data=["x"])),
        ("data[1].size_bytes", lambda body: body["data"][1].update(size_bytes=-1)),
        ("data[1].sha256", lambda body: body["data"][1].update(sha256="AA" * 32)),
        ("data[1].sha256", lambda body: body["data"][1].update(sha256="aa" * 31)),
        ("data[0].key", lambda body: body["data"][0].update(key="../../etc/passwd")),
        ("index", lambda body: body.update(index=[])),
        ("totals.entries", lambda body: body["totals"].pop("entries")),
        ("changed[0].path", lambda body: body["changed"][0].pop("path")),
        ("skipped[0].path", lambda body: body.update(skipped=[{"name": "x"}])),
        ("changed[1].path_b64", lambda body: body["changed"][1].update(path_b64="!!")),
        ("signature", lambda body: body.pop("signature")),
        ("signature.algorithm", lambda body: body["signature"].update(algorithm="none")),
        ("signature.public_key", lambda body: body["signature"].update(public_key="1e" * 31)),
        ("signature.signature", lambda body: body["signature"].update(signature="zz" * 64)),
    ],
)
def test_a_damaged_manifest_is_refused_by_the_name_of_the_field(
    field: str, change: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(IntegrityError) as caught:
        parse(altered(change))

    assert field in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"nonsense",
        b"\xff{}",
        b'{"format": 1.0}',
        b'{"format": NaN}',
        b'{"format": 1, "format": 1}',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda document: repr(document[:20]),
)
def test_what_two_readers_could_understand_differently_is_refused(document: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse(document)
    with pytest.raises(IntegrityError):
        signed_bytes(document)


@given(st.binary())
def test_no_bytes_at_all_make_reading_fail_in_another_way(document: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse(document)


@given(st.binary())
def test_a_path_that_is_not_utf8_keeps_its_bytes(raw: bytes) -> None:
    path = raw.decode("utf-8", "surrogateescape")
    manifest = replace(golden_manifest().manifest, skipped=(path,))
    stored = json.loads(canonical_bytes(manifest))["skipped"][0]

    kept = stored.encode() if isinstance(stored, str) else base64.b64decode(stored["path_b64"])
    assert kept == raw


def test_the_reference_page_names_every_field() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "artifact-format.md").read_text()
    document = json.loads((GOLDEN / "v1-full.json").read_bytes())
    fields = {*document, *document["totals"], *document["data"][0], *document["signature"], *document["changed"][0]}

    assert [field for field in sorted(fields) if f"`{field}`" not in page] == []

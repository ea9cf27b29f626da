"""A proof: the dated, signed result of a restore drill. Format version 1, for ever.

Stored as JSON under `_proofs/`, signed as manifests are: see `signed_json`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from flykeep.domain import signed_json
from flykeep.domain.agreement import Comparison, Difference
from flykeep.domain.ids import AppName, ExportId, LineageId, ProofId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.probes import ProbeOutcome
from flykeep.domain.signed_json import (
    Fields,
    Json,
    canonical,
    instant_text,
    load,
    named_path,
    read_format,
    read_signature,
    signed_document,
)

PROOF_FORMAT = 1

_WHAT = "proof"
_UPDATE_HINT = "A newer flykeep wrote this proof: update flykeep to read it."


class ProofOutcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a step took; `is_restore` where a real restore would take it too."""

    step: str
    took_ms: int
    is_restore: bool = False


@dataclass(frozen=True, slots=True)
class DrillSource:
    """What was restored, and of when its contents are."""

    kind: str  # "snapshot" | "artifact"
    as_of_at: datetime
    snapshot_id: SnapshotId | None = None
    export_id: ExportId | None = None
    store: str | None = None


@dataclass(frozen=True, slots=True)
class Against:
    """The artifact whose index the restored tree was compared with."""

    export_id: ExportId
    store: str
    artifact_at: datetime
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Contents:
    """What the restored tree held."""

    files: int
    content_bytes: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What one drill showed. `reason` says why it failed; `contents` None means that nothing could be restored."""

    proof_id: ProofId
    lineage_id: LineageId
    app: AppName
    volume_name: VolumeName
    volume_id: VolumeId
    policy: str
    source: DrillSource
    started_at: datetime
    ended_at: datetime
    flykeep_version: str
    outcome: ProofOutcome
    reason: str | None
    contents: Contents | None
    probes: tuple[ProbeOutcome, ...]
    against: Against | None
    timings: tuple[Timing, ...]
    format: int = PROOF_FORMAT

    @property
    def is_passed(self) -> bool:
        return self.outcome is ProofOutcome.PASSED

    @property
    def restore_took(self) -> timedelta:
        """The measured RTO: what it took until the contents were there."""
        return timedelta(milliseconds=sum(timing.took_ms for timing in self.timings if timing.is_restore))


@dataclass(frozen=True, slots=True)
class SignedProof:
    """A proof with the Ed25519 signature over its canonical bytes, and the public key that made it (hex)."""

    proof: Proof
    signature_hex: str
    signer_hex: str


@dataclass(frozen=True, slots=True)
class RecordedProof:
    """A proof as the catalog remembers it: believed, for its signature was judged before."""

    proof: Proof
    signer_hex: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class ProofFlaw:
    """An object that says it is a proof, and why nobody may believe it."""

    store: str
    key: str
    why: str


def newest_passed(proofs: Iterable[RecordedProof]) -> RecordedProof | None:
    return max((one for one in proofs if one.proof.is_passed), key=_ended, default=None)


def newest(proofs: Iterable[RecordedProof]) -> RecordedProof | None:
    return max(proofs, key=_ended, default=None)


def _ended(recorded: RecordedProof) -> tuple[datetime, str]:
    return recorded.proof.ended_at, recorded.proof.proof_id


def canonical_bytes(proof: Proof) -> bytes:
    """What is signed when `proof` is written."""
    return canonical(_body(proof))


def to_document(signed: SignedProof) -> bytes:
    """The proof object as it is stored."""
    return signed_document(_body(signed.proof), signature_hex=signed.signature_hex, signer_hex=signed.signer_hex)


def signed_bytes(document: bytes) -> bytes:
    """What the signature of a stored document covers; verify these and never `canonical_bytes(parse(document).proof)`.

    Raises IntegrityError.
    """
    return signed_json.signed_bytes(document, what=_WHAT)


def parse(document: bytes) -> SignedProof:
    """Read a stored proof; its signature is not judged here.

    Fields this version does not know are ignored. Raises IntegrityError for anything that is not a whole and
    consistent proof of a known format.
    """
    body = Fields(load(document, what=_WHAT), what=_WHAT)
    read_format(body, what=_WHAT, known=PROOF_FORMAT, hint=_UPDATE_HINT)
    signature_hex, signer_hex = read_signature(body)
    return SignedProof(_proof(body), signature_hex, signer_hex)


# writing


def _body(proof: Proof) -> Json:
    return {
        "format": proof.format,
        "proof_id": proof.proof_id,
        "lineage_id": proof.lineage_id,
        "app": proof.app,
        "volume_name": proof.volume_name,
        "volume_id": proof.volume_id,
        "policy": proof.policy,
        "source": _source_body(proof.source),
        "started_at": instant_text(proof.started_at),
        "ended_at": instant_text(proof.ended_at),
        "flykeep_version": proof.flykeep_version,
        "outcome": proof.outcome.value,
        "reason": proof.reason,
        "contents": _contents_body(proof.contents),
        "probes": [{"probe": one.probe, "is_passed": one.is_passed, "detail": one.detail} for one in proof.probes],
        "against": _against_body(proof.against),
        "timings": [{"step": one.step, "took_ms": one.took_ms, "is_restore": one.is_restore} for one in proof.timings],
    }


def _source_body(source: DrillSource) -> Json:
    return {
        "kind": source.kind,
        "as_of_at": instant_text(source.as_of_at),
        "snapshot_id": source.snapshot_id,
        "export_id": source.export_id,
        "store": source.store,
    }


def _contents_body(contents: Contents | None) -> Json | None:
    if contents is None:
        return None
    return {"files": contents.files, "content_bytes": contents.content_bytes}


def _against_body(against: Against | None) -> Json | None:
    if against is None:
        return None
    found = against.comparison
    return {
        "export_id": against.export_id,
        "store": against.store,
        "artifact_at": instant_text(against.artifact_at),
        "equal": found.equal,
        "changed": found.changed,
        "gone": found.gone,
        "added": found.added,
        "contradictions": found.contradictions,
        "first": [{**named_path(one.path), "why": one.why} for one in found.first],
    }


# reading


def _proof(body: Fields) -> Proof:
    outcome = body.one_of("outcome", ProofOutcome)
    reason = body.text_or_none("reason")
    if (outcome is ProofOutcome.FAILED) != (reason is not None):
        body.refuse("reason", "does not fit its outcome")
    contents, against = body.fields_or_none("contents"), body.fields_or_none("against")
    return Proof(
        proof_id=ProofId(body.text("proof_id")),
        lineage_id=LineageId(body.text("lineage_id")),
        app=AppName(body.text("app")),
        volume_name=VolumeName(body.text("volume_name")),
        volume_id=VolumeId(body.text("volume_id")),
        policy=body.text("policy"),
        source=_source(body.fields("source")),
        started_at=body.instant("started_at"),
        ended_at=body.instant("ended_at"),
        flykeep_version=body.text("flykeep_version"),
        outcome=outcome,
        reason=reason,
        contents=None if contents is None else Contents(contents.count("files"), contents.count("content_bytes")),
        probes=body.objects("probes", _probe),
        against=None if against is None else _against(against),
        timings=body.objects("timings", _timing),
    )


def _source(fields: Fields) -> DrillSource:
    kind = fields.text("kind")
    snapshot_id, export_id = fields.text_or_none("snapshot_id"), fields.text_or_none("export_id")
    if (kind, snapshot_id is None, export_id is None) not in {("snapshot", False, True), ("artifact", True, False)}:
        fields.refuse("kind", "does not fit its ids")
    return DrillSource(
        kind=kind,
        as_of_at=fields.instant("as_of_at"),
        snapshot_id=None if snapshot_id is None else SnapshotId(snapshot_id),
        export_id=None if export_id is None else ExportId(export_id),
        store=fields.text_or_none("store"),
    )


def _probe(fields: Fields) -> ProbeOutcome:
    return ProbeOutcome(fields.text("probe"), fields.claim("is_passed"), fields.text("detail"))


def _timing(fields: Fields) -> Timing:
    return Timing(fields.text("step"), fields.count("took_ms"), fields.claim("is_restore"))


def _against(fields: Fields) -> Against:
    return Against(
        export_id=ExportId(fields.text("export_id")),
        store=fields.text("store"),
        artifact_at=fields.instant("artifact_at"),
        comparison=Comparison(
            equal=fields.count("equal"),
            changed=fields.count("changed"),
            gone=fields.count("gone"),
            added=fields.count("added"),
            contradictions=fields.count("contradictions"),
            first=fields.objects("first", lambda one: Difference(one.path(), one.text("why"))),
        ),
    )

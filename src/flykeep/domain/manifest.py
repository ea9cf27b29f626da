"""A manifest as JSON: what is signed, what is stored, and how either is read again. Format version 1, for ever.

`signed_json` says what is signed.
"""

from __future__ import annotations

from flykeep.domain import signed_json
from flykeep.domain.artifact import (
    FORMAT_VERSION,
    ArtifactOrigin,
    ArtifactOutcome,
    ChangedFile,
    Consistency,
    Manifest,
    SignedManifest,
    StoredObject,
    TarTotals,
)
from flykeep.domain.errors import FlykeepError
from flykeep.domain.ids import AppName, ExportId, LineageId, MachineId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.layout import check_key
from flykeep.domain.signed_json import (
    Fields,
    Json,
    canonical,
    instant_text,
    load,
    named_path,
    path_body,
    read_format,
    read_signature,
    signed_document,
)

_WHAT = "manifest"
_UPDATE_HINT = "A newer flykeep wrote this artifact: update flykeep, or restore it by hand as RESTORE.md says."


def canonical_bytes(manifest: Manifest) -> bytes:
    """What the daemon signs when it writes `manifest`."""
    return canonical(_body(manifest))


def to_document(signed: SignedManifest) -> bytes:
    """The manifest object as it is stored."""
    return signed_document(_body(signed.manifest), signature_hex=signed.signature_hex, signer_hex=signed.signer_hex)


def signed_bytes(document: bytes) -> bytes:
    """What the signature of a stored document covers: every field of it, those this version does not know too.

    Verify these and never `canonical_bytes(parse(document).manifest)`. Raises IntegrityError.
    """
    return signed_json.signed_bytes(document, what=_WHAT)


def parse(document: bytes) -> SignedManifest:
    """Read a stored manifest; its signature is not judged here.

    Fields this version does not know are ignored. Raises IntegrityError for anything that is not a whole and
    consistent manifest of a known format.
    """
    body = Fields(load(document, what=_WHAT), what=_WHAT)
    read_format(body, what=_WHAT, known=FORMAT_VERSION, hint=_UPDATE_HINT)
    signature_hex, signer_hex = read_signature(body)
    return SignedManifest(manifest=_manifest(body), signature_hex=signature_hex, signer_hex=signer_hex)


# writing


def _body(manifest: Manifest) -> Json:
    return {
        "format": manifest.format,
        "export_id": manifest.export_id,
        **_origin_body(manifest.origin),
        "consistency": manifest.consistency.value,
        "policy": manifest.policy,
        "started_at": instant_text(manifest.started_at),
        "ended_at": instant_text(manifest.ended_at),
        "flykeep_version": manifest.flykeep_version,
        "outcome": manifest.outcome.value,
        "encryption": manifest.encryption,
        "recipients": list(manifest.recipients),
        "data": [_object_body(each) for each in manifest.data],
        "index": _object_body(manifest.index),
        "totals": {
            "entries": manifest.totals.entries,
            "files": manifest.totals.files,
            "content_bytes": manifest.totals.content_bytes,
            "tar_bytes": manifest.totals.tar_bytes,
            "tar_sha256": manifest.totals.tar_sha256,
        },
        "changed": [_changed_body(each) for each in manifest.changed],
        "skipped": [path_body(each) for each in manifest.skipped],
        "lost": list(manifest.lost),
        "open_databases": [path_body(each) for each in manifest.open_databases],
        "is_partial": manifest.is_partial,
    }


def _origin_body(origin: ArtifactOrigin) -> Json:
    return {
        "lineage_id": origin.lineage_id,
        "app": origin.app,
        "volume_name": origin.volume_name,
        "volume_id": origin.volume_id,
        "machine_id": origin.machine_id,
        "machine_name": origin.machine_name,
        "machine_state": origin.machine_state,
        "region": origin.region,
        "snapshot_id": origin.snapshot_id,
        "source": origin.source,
        "paths": [path_body(each) for each in origin.paths],
        "excluded": [path_body(each) for each in origin.excluded],
    }


def _object_body(stored: StoredObject) -> Json:
    return {"key": stored.key, "size_bytes": stored.size_bytes, "sha256": stored.sha256}


def _changed_body(changed: ChangedFile) -> Json:
    return {**named_path(changed.path), "change": changed.change}


# reading


def _manifest(body: Fields) -> Manifest:
    encryption = body.text("encryption")
    recipients = tuple(body.texts("recipients"))
    if encryption not in {"age", "none"} or (encryption == "age") != bool(recipients):
        body.refuse("encryption", "does not fit its recipients")
    if not (data := body.objects("data", _stored_object)):
        body.refuse("data", "is empty")
    return Manifest(
        export_id=ExportId(body.text("export_id")),
        origin=_origin(body),
        consistency=body.one_of("consistency", Consistency),
        policy=body.text("policy"),
        started_at=body.instant("started_at"),
        ended_at=body.instant("ended_at"),
        flykeep_version=body.text("flykeep_version"),
        encryption=encryption,
        recipients=recipients,
        data=data,
        index=_stored_object(body.fields("index")),
        totals=_totals(body.fields("totals")),
        outcome=body.one_of("outcome", ArtifactOutcome),
        changed=body.objects("changed", _changed),
        skipped=body.paths("skipped"),
        lost=tuple(body.texts("lost")),
        open_databases=body.paths("open_databases"),
        is_partial=body.claim("is_partial"),
    )


def _origin(body: Fields) -> ArtifactOrigin:
    machine_id, snapshot_id = body.text_or_none("machine_id"), body.text_or_none("snapshot_id")
    return ArtifactOrigin(
        lineage_id=LineageId(body.text("lineage_id")),
        app=AppName(body.text("app")),
        volume_name=VolumeName(body.text("volume_name")),
        volume_id=VolumeId(body.text("volume_id")),
        machine_id=None if machine_id is None else MachineId(machine_id),
        machine_name=body.text_or_none("machine_name"),
        machine_state=body.text_or_none("machine_state"),
        region=body.text("region"),
        snapshot_id=None if snapshot_id is None else SnapshotId(snapshot_id),
        source=body.text("source"),
        paths=body.paths("paths"),
        excluded=body.paths("excluded"),
    )


def _totals(fields: Fields) -> TarTotals:
    return TarTotals(
        entries=fields.count("entries"),
        files=fields.count("files"),
        content_bytes=fields.count("content_bytes"),
        tar_bytes=fields.count("tar_bytes"),
        tar_sha256=fields.hexadecimal("tar_sha256", length_bytes=32),
    )


def _stored_object(fields: Fields) -> StoredObject:
    key = fields.text("key")
    try:
        check_key(key)
    except FlykeepError:
        fields.refuse("key", "is no key")
    return StoredObject(
        key=key, size_bytes=fields.count("size_bytes"), sha256=fields.hexadecimal("sha256", length_bytes=32)
    )


def _changed(fields: Fields) -> ChangedFile:
    return ChangedFile(path=fields.path(), change=fields.text("change"))

"""A manifest as JSON: what is signed, what is stored, and how either is read again. Format version 1, for ever.

What is signed are the canonical bytes: the document without its `signature`, keys sorted by code point, no white
space, UTF-8. Documents hold whole numbers only and no key twice, so any JSON tool that sorts keys makes the same
bytes. Where a path is not UTF-8, an object with its bytes in base64 (`path_b64`) stands for it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn, TypeVar, cast

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
from flykeep.domain.errors import FlykeepError, IntegrityError
from flykeep.domain.ids import AppName, ExportId, LineageId, MachineId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.layout import check_key

SIGNATURE_ALGORITHM = "ed25519"

_Json = dict[str, object]
_T = TypeVar("_T")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_UPDATE_HINT = "A newer flykeep wrote this artifact: update flykeep, or restore it by hand as RESTORE.md says."


def canonical_bytes(manifest: Manifest) -> bytes:
    """What the daemon signs when it writes `manifest`."""
    return _canonical(_body(manifest))


def to_document(signed: SignedManifest) -> bytes:
    """The manifest object as it is stored: JSON for people to read, the signature last."""
    document = _body(signed.manifest)
    document["signature"] = {
        "algorithm": SIGNATURE_ALGORITHM,
        "public_key": signed.signer_hex,
        "signature": signed.signature_hex,
    }
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def signed_bytes(document: bytes) -> bytes:
    """What the signature of a stored document covers: every field of it, those this version does not know too.

    Verify these and never `canonical_bytes(parse(document).manifest)`. Raises IntegrityError.
    """
    body = _load(document)
    body.pop("signature", None)
    return _canonical(body)


def parse(document: bytes) -> SignedManifest:
    """Read a stored manifest; its signature is not judged here.

    Fields this version does not know are ignored. Raises IntegrityError for anything that is not a whole and
    consistent manifest of a known format.
    """
    body = _Fields(_load(document), "")
    version = body.count("format")
    if version != FORMAT_VERSION:
        raise IntegrityError(
            f"The manifest has format {version}; this flykeep reads format {FORMAT_VERSION}.",
            hint=_UPDATE_HINT if version > FORMAT_VERSION else None,
        )
    signature = body.fields("signature")
    if (algorithm := signature.text("algorithm")) != SIGNATURE_ALGORITHM:
        signature.refuse("algorithm", f"is {algorithm!a}, not {SIGNATURE_ALGORITHM}")
    return SignedManifest(
        manifest=_manifest(body),
        signature_hex=signature.hexadecimal("signature", length_bytes=64),
        signer_hex=signature.hexadecimal("public_key", length_bytes=32),
    )


# writing


def _body(manifest: Manifest) -> _Json:
    return {
        "format": manifest.format,
        "export_id": manifest.export_id,
        **_origin_body(manifest.origin),
        "consistency": manifest.consistency.value,
        "policy": manifest.policy,
        "started_at": _instant_text(manifest.started_at),
        "ended_at": _instant_text(manifest.ended_at),
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
        "skipped": [_path_body(each) for each in manifest.skipped],
        "lost": list(manifest.lost),
        "open_databases": [_path_body(each) for each in manifest.open_databases],
        "is_partial": manifest.is_partial,
    }


def _origin_body(origin: ArtifactOrigin) -> _Json:
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
        "paths": [_path_body(each) for each in origin.paths],
        "excluded": [_path_body(each) for each in origin.excluded],
    }


def _object_body(stored: StoredObject) -> _Json:
    return {"key": stored.key, "size_bytes": stored.size_bytes, "sha256": stored.sha256}


def _changed_body(changed: ChangedFile) -> _Json:
    path = _path_body(changed.path)
    named = path if isinstance(path, dict) else {"path": path}
    return {**named, "change": changed.change}


def _path_body(path: str) -> str | _Json:
    raw = path.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"path_b64": base64.b64encode(raw).decode()}


def _instant_text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def _canonical(body: _Json) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# reading


def _load(document: bytes) -> _Json:
    """The outermost object; refuses what two JSON readers could understand differently."""
    try:
        body = json.loads(
            document.decode(), object_pairs_hook=_object, parse_float=_no_fraction, parse_constant=_no_fraction
        )
        _canonical({"": body})  # half a surrogate pair reads well and can never be signed
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"The manifest is not the JSON flykeep writes: {type(error).__name__}.") from error
    if not isinstance(body, dict):
        raise IntegrityError("The manifest is not a JSON object.")
    return cast("_Json", body)


def _object(pairs: list[tuple[str, object]]) -> _Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_fraction(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is not a whole number")


def _manifest(body: _Fields) -> Manifest:
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


def _origin(body: _Fields) -> ArtifactOrigin:
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


def _totals(fields: _Fields) -> TarTotals:
    return TarTotals(
        entries=fields.count("entries"),
        files=fields.count("files"),
        content_bytes=fields.count("content_bytes"),
        tar_bytes=fields.count("tar_bytes"),
        tar_sha256=fields.hexadecimal("tar_sha256", length_bytes=32),
    )


def _stored_object(fields: _Fields) -> StoredObject:
    key = fields.text("key")
    try:
        check_key(key)
    except FlykeepError:
        fields.refuse("key", "is no key")
    return StoredObject(
        key=key, size_bytes=fields.count("size_bytes"), sha256=fields.hexadecimal("sha256", length_bytes=32)
    )


def _changed(fields: _Fields) -> ChangedFile:
    return ChangedFile(path=fields.path(), change=fields.text("change"))


class _Fields:
    """One JSON object, read strictly; every refusal names the field by its full name."""

    def __init__(self, value: object, where: str) -> None:
        self._where = where
        if not isinstance(value, dict):
            self.refuse("", "is not an object")
        self._value = cast("_Json", value)

    def refuse(self, name: str, reason: str) -> NoReturn:
        field = ".".join(part for part in (self._where, name) if part)
        raise IntegrityError(f"The manifest's field {field} {reason}.")

    def _get(self, name: str, kind: type[_T]) -> _T:
        if name not in self._value:
            self.refuse(name, "is missing")
        value = self._value[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            self.refuse(name, f"is not of type {kind.__name__}")
        return value

    def text(self, name: str) -> str:
        return self._get(name, str)

    def claim(self, name: str) -> bool:
        value = self._value.get(name)
        if not isinstance(value, bool):
            self.refuse(name, "is missing or not true or false")
        return value

    def text_or_none(self, name: str) -> str | None:
        if name in self._value and self._value[name] is None:
            return None
        return self.text(name)

    def texts(self, name: str) -> list[str]:
        values = self._get(name, list)
        if not all(isinstance(value, str) for value in values):
            self.refuse(name, "holds something that is not text")
        return values

    def count(self, name: str) -> int:
        value = self._get(name, int)
        if value < 0:
            self.refuse(name, "is below zero")
        return value

    def hexadecimal(self, name: str, *, length_bytes: int) -> str:
        value = self.text(name)
        if len(value) != 2 * length_bytes or not _HEX.fullmatch(value):
            self.refuse(name, f"is not {length_bytes} bytes in lowercase hexadecimal")
        return value

    def instant(self, name: str) -> datetime:
        value = self.text(name)
        if not _INSTANT.fullmatch(value):
            self.refuse(name, "is not an instant in UTC")
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            self.refuse(name, "is not a date that exists")

    def one_of(self, name: str, kind: Callable[[str], _T]) -> _T:
        value = self.text(name)
        try:
            return kind(value)
        except ValueError:
            self.refuse(name, f"has the unknown value {value!a}")

    def fields(self, name: str) -> _Fields:
        return _Fields(self._get(name, dict), f"{self._where}.{name}".lstrip("."))

    def objects(self, name: str, read: Callable[[_Fields], _T]) -> tuple[_T, ...]:
        values = self._get(name, list)
        return tuple(read(_Fields(value, f"{self._where}{name}[{at}]")) for at, value in enumerate(values))

    def path(self) -> str:
        """This object's `path`, or its `path_b64` with surrogate escapes where not UTF-8."""
        if "path_b64" not in self._value:
            return self.text("path")
        try:
            raw = base64.b64decode(self.text("path_b64"), validate=True)
        except (binascii.Error, ValueError):
            self.refuse("path_b64", "is not base64")
        return raw.decode("utf-8", "surrogateescape")

    def paths(self, name: str) -> tuple[str, ...]:
        values = self._get(name, list)
        return tuple(
            value if isinstance(value, str) else _Fields(value, f"{name}[{at}]").path()
            for at, value in enumerate(values)
        )

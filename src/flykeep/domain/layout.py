"""Where the objects of an artifact stand in a store: keys from facts, and facts from keys. For ever.

Keys are relative to the store's prefix. Every part is made of unreserved URL characters only, so that no store,
shell or URL has to escape anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from flykeep.domain.errors import InternalError, StoreError
from flykeep.domain.ids import AppName, ExportId, ProofId, VolumeName

STATE_KEY = "_state/latest.json.zst.age"
RESTORE_KEY = "RESTORE.md"
PROOFS_PREFIX = "_proofs/"
PINS_PREFIX = "_pins/"
RUNBOOKS_PREFIX = "_runbooks/"
PARTS_AT_MOST = 99_999

_MANIFEST = "manifest.json"
_INDEX = {True: "index.jsonl.zst.age", False: "index.jsonl.zst"}
_DATA = {True: "data.tar.zst.age", False: "data.tar.zst"}
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_ESCAPED = re.compile(r"~([0-9a-f]{2})")
_PART = re.compile(r"(data\.tar\.zst(?:\.age)?)\.([0-9]{5})")
_YEAR = re.compile(r"[0-9]{4}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ObjectRole(StrEnum):
    DATA = "data"
    INDEX = "index"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class ArtifactPlace:
    """What an artifact's prefix says: all that can be known of it before its manifest is read."""

    app: AppName
    volume_name: VolumeName
    year: int
    export_id: ExportId

    @property
    def prefix(self) -> str:
        parts = (_escape(self.app, is_first=True), _escape(self.volume_name), f"{self.year:04d}")
        return "/".join((*parts, _escape(self.export_id)))


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """One object of an artifact. `part` counts from 1 where data is split; `is_encrypted` is false for manifests."""

    artifact: ArtifactPlace
    role: ObjectRole
    is_encrypted: bool
    part: int | None = None

    @property
    def key(self) -> str:
        prefix = self.artifact.prefix
        if self.role is ObjectRole.MANIFEST:
            return manifest_key(prefix)
        if self.role is ObjectRole.INDEX:
            return index_key(prefix, is_encrypted=self.is_encrypted)
        return data_key(prefix, is_encrypted=self.is_encrypted, part=self.part)


def artifact_prefix(app: AppName, volume_name: VolumeName, export_id: ExportId, started_at: datetime) -> str:
    """`<app>/<volume name>/<YYYY>/<export id>`, the year being that of `started_at` in UTC."""
    return ArtifactPlace(app, volume_name, started_at.astimezone(UTC).year, export_id).prefix


def manifest_key(prefix: str) -> str:
    return f"{prefix}/{_MANIFEST}"


def index_key(prefix: str, *, is_encrypted: bool) -> str:
    return f"{prefix}/{_INDEX[is_encrypted]}"


def data_key(prefix: str, *, is_encrypted: bool, part: int | None = None) -> str:
    """The key of the whole data, or of part `part`, counted from 1; the parts in order of their keys join to it."""
    whole = f"{prefix}/{_DATA[is_encrypted]}"
    if part is None:
        return whole
    if not 1 <= part <= PARTS_AT_MOST:
        raise InternalError(f"Data has parts 1 to {PARTS_AT_MOST}, not {part}.")
    return f"{whole}.{part:05d}"


def proof_key(app: AppName, volume_name: VolumeName, proof_id: ProofId) -> str:
    """`_proofs/<app>/<volume name>/<proof id>.json`."""
    return f"{PROOFS_PREFIX}{_escape(app)}/{_escape(volume_name)}/{_escape(proof_id)}.json"


def pin_key(export_id: ExportId) -> str:
    """`_pins/<export id>.json`: a person holds this artifact."""
    return f"{PINS_PREFIX}{_escape(export_id)}.json"


def pinned_id_of(key: str) -> ExportId | None:
    """Whose pin has this key; None where flykeep would never have made it."""
    name = key.removeprefix(PINS_PREFIX)
    if not key.startswith(PINS_PREFIX) or not name.endswith(".json") or name == ".json":
        return None
    export_id = _unescape(name.removesuffix(".json"))
    return ExportId(export_id) if export_id and pin_key(ExportId(export_id)) == key else None


def runbook_key(app: AppName, *, is_encrypted: bool) -> str:
    """`_runbooks/<app>.md.zst.age`: how people rebuild this app by hand."""
    return f"{RUNBOOKS_PREFIX}{_escape(app)}.md.zst{'.age' if is_encrypted else ''}"


def earlier_runbooks_prefix(app: AppName) -> str:
    """Where pages of this app are kept that describe machines which are gone."""
    return f"{RUNBOOKS_PREFIX}{_escape(app)}/"


def earlier_runbook_key(app: AppName, on: datetime, *, is_encrypted: bool) -> str:
    """One a day: `_runbooks/<app>/<YYYY-MM-DD>.md.zst.age`, the day being that in UTC."""
    day = f"{on.astimezone(UTC):%Y-%m-%d}"
    return f"{earlier_runbooks_prefix(app)}{day}.md.zst{'.age' if is_encrypted else ''}"


def proof_id_of(key: str) -> ProofId | None:
    """The id that a proof under this key must have; None where flykeep would never have made the key."""
    parts = key.removeprefix(PROOFS_PREFIX).split("/")
    if not key.startswith(PROOFS_PREFIX) or len(parts) != 3 or not parts[2].endswith(".json"):
        return None
    proof_id = _unescape(parts[2].removesuffix(".json"))
    return None if proof_id is None else ProofId(proof_id)


def parse_prefix(prefix: str) -> ArtifactPlace | None:
    """The artifact that has exactly this prefix; None where flykeep would never have made it."""
    parts = prefix.split("/")
    if len(parts) != 4 or not all(parts) or not _YEAR.fullmatch(parts[2]):
        return None
    app, volume, export_id = (_unescape(parts[at]) for at in (0, 1, 3))
    if app is None or volume is None or export_id is None:
        return None
    place = ArtifactPlace(AppName(app), VolumeName(volume), int(parts[2]), ExportId(export_id))
    return place if place.prefix == prefix else None


def parse_key(key: str) -> ObjectPlace | None:
    """The object that has exactly this key; None where it is no object of an artifact."""
    prefix, _, name = key.rpartition("/")
    artifact = parse_prefix(prefix)
    if artifact is None:
        return None
    if name == _MANIFEST:
        return ObjectPlace(artifact, ObjectRole.MANIFEST, is_encrypted=False)
    for is_encrypted in (True, False):
        if name == _INDEX[is_encrypted]:
            return ObjectPlace(artifact, ObjectRole.INDEX, is_encrypted=is_encrypted)
        if name == _DATA[is_encrypted]:
            return ObjectPlace(artifact, ObjectRole.DATA, is_encrypted=is_encrypted)
    split = _PART.fullmatch(name)
    if split is None or int(split[2]) == 0:
        return None
    return ObjectPlace(artifact, ObjectRole.DATA, is_encrypted=split[1] == _DATA[True], part=int(split[2]))


def belongs_together(key: str, keys: Iterable[str], *, app: str, volume_name: str, export_id: str) -> bool:
    """Whether `key` is where this artifact's manifest stands, and `keys` are objects of the same artifact.

    A signed manifest that somebody copied to another artifact's place says otherwise.
    """
    place = parse_key(key)
    if place is None or place.role is not ObjectRole.MANIFEST:
        return False
    artifact = place.artifact
    if (artifact.app, artifact.volume_name, artifact.export_id) != (app, volume_name, export_id):
        return False
    objects = [parse_key(each) for each in keys]
    return all(each is not None and each.artifact == artifact for each in objects)


def check_key(key: str) -> None:
    """Raise StoreError unless `key` names the same object in every kind of store.

    No empty part, no `.` or `..`, no control character, no leading or trailing slash.
    """
    parts = key.split("/")
    if any(part in {"", ".", ".."} for part in parts) or _CONTROL.search(key):
        raise StoreError("This is not a key that every store can hold.", facts={"key": ascii(key)})


def _escape(name: str, *, is_first: bool = False) -> str:
    """Bytes outside `[A-Za-z0-9_-]` become `~xx`. A first part never starts with `_`: those names are flykeep's own."""
    if not name:
        raise InternalError("An artifact's place needs an app, a volume name and an export id.")
    escaped = "".join(chr(byte) if byte in _PLAIN else f"~{byte:02x}" for byte in name.encode())
    return f"~5f{escaped[1:]}" if is_first and escaped.startswith("_") else escaped


def _unescape(part: str) -> str | None:
    try:
        raw = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), part).encode("latin-1")
        return raw.decode()
    except UnicodeError:
        return None

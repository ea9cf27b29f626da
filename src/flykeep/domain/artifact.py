"""An artifact as the catalog and the manifest know it. Format version 1, for ever.

An artifact is three kinds of object under one prefix: data, index, and a manifest whose existence commits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flykeep.domain.ids import AppName, ExportId, LineageId, MachineId, SnapshotId, VolumeId, VolumeName

FORMAT_VERSION = 1

LOST = ("extended attributes and capabilities", "ACLs", "times finer than a second", "holes of sparse files")
"""What a tar of this format does not carry; the contents of sparse files are complete, as zeros."""


class Consistency(StrEnum):
    """How the bytes were held still while they were read."""

    SNAPSHOT = "snapshot"  # a point in time, crash-consistent
    APP = "app"  # a hook made the application's files consistent
    LIVE = "live"  # read while in use


class ArtifactOutcome(StrEnum):
    COMPLETE = "complete"
    DEGRADED = "degraded"  # some files vanished or changed while they were read; the manifest names them


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of an artifact: its full key in the store, its size and the sha256 of its stored bytes."""

    key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file that vanished, grew or shrank while it was read. `path` has surrogate escapes where not UTF-8."""

    path: str
    change: str  # "vanished" | "changed" | "shrank" | "unreadable"


@dataclass(frozen=True, slots=True)
class TarTotals:
    entries: int
    files: int
    content_bytes: int
    tar_bytes: int
    tar_sha256: str


@dataclass(frozen=True, slots=True)
class ArtifactOrigin:
    """Where the bytes came from."""

    lineage_id: LineageId
    app: AppName
    volume_name: VolumeName
    volume_id: VolumeId
    machine_id: MachineId | None
    machine_name: str | None
    machine_state: str | None
    region: str
    snapshot_id: SnapshotId | None
    source: str  # "ssh" | "snapshot"
    paths: tuple[str, ...]
    excluded: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Describes an artifact and commits it: written last, create-only, signed.

    `lost` names what this format never carries; `skipped` what this tree held and the format leaves out (sockets).
    `is_partial` says that a person asked for less than the target's own paths. `open_databases` are SQLite side files
    (`-wal`, `-journal`) that were present while the tree was read live.
    """

    export_id: ExportId
    origin: ArtifactOrigin
    consistency: Consistency
    policy: str
    started_at: datetime
    ended_at: datetime
    flykeep_version: str
    encryption: str  # "age" | "none"
    recipients: tuple[str, ...]  # age X25519 public keys the data is encrypted to
    data: tuple[StoredObject, ...]
    index: StoredObject
    totals: TarTotals
    outcome: ArtifactOutcome
    changed: tuple[ChangedFile, ...]
    skipped: tuple[str, ...]
    lost: tuple[str, ...]
    open_databases: tuple[str, ...]
    is_partial: bool = False
    format: int = FORMAT_VERSION

    @property
    def satisfies_rpo(self) -> bool:
        """Whether this artifact may count as a restorable backup.

        A tree read live while a SQLite database had uncommitted side files may hold a torn database, and a partial one
        lacks what the target is for: neither ever counts.
        """
        return self.why_not_restorable is None

    @property
    def why_not_restorable(self) -> str | None:
        """Why this artifact never counts for an RPO, or None."""
        if self.is_partial:
            return "a person asked for some of the target's paths only"
        if self.consistency is Consistency.LIVE and self.open_databases:
            names = ", ".join(self.open_databases[:3])
            return f"read live while SQLite databases had uncommitted side files ({names}): a database may be torn"
        return None


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest with the Ed25519 signature over its canonical bytes, and the public key that made it (hex)."""

    manifest: Manifest
    signature_hex: str
    signer_hex: str


@dataclass(frozen=True, slots=True)
class Lock:
    """A store refused to delete an artifact; `until_at` where the store said how long it will."""

    seen_at: datetime
    until_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact in one store, as the catalog remembers it.

    `verified_at` and `verified_level` are of the last verification, `contents_verified_at` of the last success that
    compared every file; a failure takes that back. `leaving_at` is when its removal began: from then on it is no
    backup, whatever of it still stands in the store.
    """

    export_id: ExportId
    store: str
    manifest_key: str
    manifest: Manifest
    recorded_at: datetime
    verified_at: datetime | None = None
    verified_level: str | None = None
    contents_verified_at: datetime | None = None
    is_failed: bool = False
    leaving_at: datetime | None = None
    lock: Lock | None = None

    @property
    def objects(self) -> tuple[StoredObject, ...]:
        """Everything in the store but the manifest."""
        return (*self.manifest.data, self.manifest.index)

    @property
    def stored_bytes(self) -> int:
        return sum(stored.size_bytes for stored in self.objects)

    @property
    def prefix(self) -> str:
        """Under which all of it stands in its store."""
        return self.manifest_key.rpartition("/")[0]

    @property
    def satisfies_rpo(self) -> bool:
        return self.manifest.satisfies_rpo and not self.is_failed and self.leaving_at is None


class EntryType(StrEnum):
    FILE = "file"
    DIRECTORY = "dir"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    FIFO = "fifo"
    CHAR = "char"
    BLOCK = "block"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One entry of the tar, in stream order.

    `path` is raw bytes from the volume's root, which itself is `.`; a hard link's target likewise, a symbolic link's as
    it is.
    `offset` is where the entry's first header block (extension headers included) stands in the tar.
    `mtime_s` is whole seconds. `sha256` is of the content of regular files, else None.
    """

    path: bytes
    type: EntryType
    size_bytes: int
    mode: int
    uid: int
    gid: int
    mtime_s: int
    link_target: bytes | None
    sha256: str | None
    offset: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One independent zstd frame: the tar range it holds and the range of the compressed stream it takes."""

    tar_offset: int
    tar_bytes: int
    stream_offset: int
    stream_bytes: int


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """The first line of an index."""

    export_id: ExportId
    frames: tuple[Frame, ...]
    entries: int
    format: int = FORMAT_VERSION

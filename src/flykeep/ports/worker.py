"""Work orders for the byte path, and what a worker reports.

A worker reads one order as a JSON line on standard input and answers with JSON lines; the end of its standard input
means stop: abort the upload, leave nothing behind. Bytes never move inside the daemon's own process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from flykeep.domain.agreement import Comparison
from flykeep.domain.artifact import ChangedFile, IndexEntry, StoredObject, TarTotals
from flykeep.domain.ids import ExportId
from flykeep.domain.probes import Probe, ProbeOutcome
from flykeep.domain.proof import Timing
from flykeep.ports.fly import SshAccess
from flykeep.ports.store import StoreOrder


@dataclass(frozen=True, slots=True)
class CompressionOrder:
    """`threads` 0 compresses in the pipeline's own thread: the frugal setting."""

    level: int = 3
    threads: int = 0
    frame_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """Copy a tree into a store. `directory` is the mount; paths are globs from it.

    Without `access` the tree is mounted on the worker's own machine.
    """

    export_id: ExportId
    key_prefix: str  # "<app>/<volume>/<YYYY>/<export_id>", under the store's own prefix
    access: SshAccess | None
    directory: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    store: StoreOrder
    recipients: tuple[str, ...]  # empty: not encrypted
    index_recipient: str
    compression: CompressionOrder
    expected_bytes: int | None  # from the volume's usage; chooses the part size
    deadline_s: float
    stall_timeout_s: float = 120.0
    kind: Literal["export"] = "export"


@dataclass(frozen=True, slots=True)
class VerifyOrder:
    """Read every byte of an artifact's objects and compare with the manifest; `identity` opens data too."""

    store: StoreOrder
    objects: tuple[StoredObject, ...]
    index: StoredObject
    level: Literal["bytes", "contents"]
    identity: str | None = field(repr=False)
    index_identity: str | None = field(repr=False)
    is_encrypted: bool
    totals: TarTotals
    deadline_s: float
    kind: Literal["verify"] = "verify"


@dataclass(frozen=True, slots=True)
class IndexOrder:
    """Read an artifact's index and report its entries, those whose path contains `contains` only."""

    store: StoreOrder
    index: StoredObject
    identity: str | None = field(repr=False)
    is_encrypted: bool
    contains: str | None
    deadline_s: float
    kind: Literal["index"] = "index"


@dataclass(frozen=True, slots=True)
class ExtractOrder:
    """Restore files of an artifact into a local directory. `paths` are globs from its root; none means everything.

    `identity` and `index_identity` are the texts of identity files; every identity in them is tried.
    """

    export_id: ExportId
    store: StoreOrder
    objects: tuple[StoredObject, ...]
    index: StoredObject
    identity: str | None = field(repr=False)
    index_identity: str | None = field(repr=False)
    is_encrypted: bool
    totals: TarTotals
    paths: tuple[str, ...]
    directory: str
    is_overwriting: bool
    deadline_s: float
    kind: Literal["extract"] = "extract"


@dataclass(frozen=True, slots=True)
class ReachOrder:
    """Log in and look which tar there is; nothing is read or changed."""

    access: SshAccess
    deadline_s: float
    kind: Literal["reach"] = "reach"


@dataclass(frozen=True, slots=True)
class IndexReference:
    """The artifact whose index a restored tree is compared with; `identity` opens indexes.

    `is_exact` where the tree is restored from this very artifact. `unsteady` are the paths that changed under its tar.
    """

    store: StoreOrder
    index: StoredObject
    identity: str | None = field(repr=False)
    is_encrypted: bool
    artifact_at_s: float  # when its reading began
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    unsteady: tuple[str, ...] = ()
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class DrillOrder:
    """Look whether `directory` holds what a restore must give; with `restore` it is empty, and filled by that first.

    `as_of_s` is when the backup was made. The worker may change what is in the directory, unless it `is_kept`: then
    nothing that is asked may leave a trace, and what is filled in must be all the artifact says, modes and owners too.
    """

    directory: str
    as_of_s: float
    probes: tuple[Probe, ...]
    reference: IndexReference | None
    restore: VerifyOrder | None
    deadline_s: float
    is_kept: bool = False
    kind: Literal["drill"] = "drill"


Order = ExportOrder | VerifyOrder | IndexOrder | ExtractOrder | ReachOrder | DrillOrder


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes of tar read and of data stored so far; `phase` is reading, storing, reading back, ..."""

    phase: str
    tar_bytes: int
    stored_bytes: int
    entries: int


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was stored and read back. Nothing is committed until the caller writes the manifest."""

    data: tuple[StoredObject, ...]
    index: StoredObject
    totals: TarTotals
    changed: tuple[ChangedFile, ...]
    skipped: tuple[str, ...]
    open_databases: tuple[str, ...]
    tar_flavour: str  # "gnu" | "busybox"
    tar_exit_code: int


@dataclass(frozen=True, slots=True)
class VerifyResult:
    level: str
    bytes_read: int
    entries_compared: int


@dataclass(frozen=True, slots=True)
class ExtractResult:
    """What was restored; `read_bytes` is what came from the store for it, the index included."""

    entries: int
    files: int
    content_bytes: int
    read_bytes: int


@dataclass(frozen=True, slots=True)
class ReachResult:
    tar_flavour: str  # "gnu" | "busybox"


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What the directory held, and how it answered; `timings` are those of the worker's own steps."""

    files: int
    content_bytes: int
    probes: tuple[ProbeOutcome, ...]
    comparison: Comparison | None
    timings: tuple[Timing, ...]


class Workers(Protocol):
    """Runs orders in processes of their own. Cancelling a call stops its worker, which then leaves nothing behind.

    Errors: what the worker reported, as the class of its code; WorkerError when it died without a word.
    """

    async def export(self, order: ExportOrder, *, on_progress: Callable[[Progress], None]) -> ExportResult: ...

    async def verify(self, order: VerifyOrder, *, on_progress: Callable[[Progress], None]) -> VerifyResult: ...

    async def drill(self, order: DrillOrder, *, on_progress: Callable[[Progress], None]) -> DrillResult:
        """Raises IntegrityError where the artifact to restore is not what was written, or cannot be opened."""
        ...

    async def extract(self, order: ExtractOrder, *, on_progress: Callable[[Progress], None]) -> ExtractResult:
        """Every file is compared with the index before any of them is put in place.

        Raises IntegrityError, UnsafeArchiveError; RefusalError where something is in the way; NotFoundError where a
        path matches nothing.
        """
        ...

    async def reach(self, order: ReachOrder) -> ReachResult:
        """Raises SshError where nobody can log in, or there is no tar."""
        ...

    def index(self, order: IndexOrder) -> AbstractAsyncContextManager[AsyncIterator[IndexEntry]]:
        """Stream the entries; leaving the context early stops the worker."""
        ...

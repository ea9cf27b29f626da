"""Orders that bring files back into a running machine, and their results.

Two steps, so that a person's files are touched in the second one only: `ImportOrder` fills a staging folder on the
volume and compares it there; `PlaceOrder` moves it into place, back, or away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from flykeep.domain.artifact import StoredObject, TarTotals
from flykeep.ports.fly import SshAccess
from flykeep.ports.store import StoreOrder
from flykeep.ports.worker import Progress


@dataclass(frozen=True, slots=True)
class ArtifactSource:
    """An artifact; `totals` come from its manifest, whose signature the caller has verified."""

    store: StoreOrder
    objects: tuple[StoredObject, ...]
    index: StoredObject
    identity: str | None = field(repr=False)
    index_identity: str | None = field(repr=False)
    is_encrypted: bool
    totals: TarTotals
    type: Literal["artifact"] = "artifact"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A `.tar`, `.tar.gz` or `.tar.zst` on the worker's own disk; nothing of it is believed."""

    path: str
    type: Literal["file"] = "file"


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """Put a tree, or the `paths` of it, into the staging folder of `run_id`, and compare it there.

    `directory` is the mount; paths are globs from the archive's root. The volume's own content is not touched.
    """

    run_id: str
    access: SshAccess
    directory: str
    source: ArtifactSource | FileSource
    paths: tuple[str, ...]
    deadline_s: float
    stall_timeout_s: float = 120.0
    kind: Literal["import"] = "import"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What is staged and was compared. `left_out` counts entries that were not asked for, or are flykeep's own."""

    entries: int
    files: int
    content_bytes: int
    left_out: int
    tar_flavour: str  # "gnu" | "busybox"


class Placing(StrEnum):
    """What may be done with a staged tree."""

    MOVE = "move"  # into place, the old content kept beside
    UNDO = "undo"  # the old content back, the new kept beside
    DROP = "drop"  # remove what is kept beside
    DISCARD = "discard"  # remove what was staged, only where nothing has moved yet


class Placed(StrEnum):
    """How things stand on the machine afterwards."""

    NOTHING = "nothing"  # neither what was staged nor what was kept is there
    MOVED = "moved"
    UNDONE = "undone"
    MOVING = "moving"  # only from DISCARD: it left alone what has begun to move


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """May be given again after any interruption: it goes on where the last one stopped."""

    run_id: str
    access: SshAccess
    directory: str
    placing: Placing
    deadline_s: float
    kind: Literal["place"] = "place"


@dataclass(frozen=True, slots=True)
class PlaceResult:
    placed: Placed


class Importers(Protocol):
    """Runs these orders in processes of their own; cancelling a call stops its worker. Errors as for `Workers`.

    After a failed or cancelled `stage` the staging folder may be there: PlaceOrder removes it.
    """

    async def stage(self, order: ImportOrder, *, on_progress: Callable[[Progress], None]) -> ImportResult: ...

    async def place(self, order: PlaceOrder) -> PlaceResult: ...

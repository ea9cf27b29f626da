"""An artifact of a local tree, made in this process: its objects in a directory store, its index, its totals."""

from __future__ import annotations

import hashlib
import io
import tarfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pyrage

from flykeep.adapters.codecs.zstd_frames import FrameWriter
from flykeep.domain.artifact import IndexHeader, StoredObject, TarTotals
from flykeep.domain.ids import ExportId
from flykeep.domain.tar_stream import TarReader
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.ports.worker import IndexReference, VerifyOrder
from flykeep.worker.index_spool import IndexSpool


@dataclass
class StoredTree:
    """What `stored` made; orders for it are made from here."""

    store: StoreOrder
    data: StoredObject
    index: StoredObject
    totals: TarTotals
    operator: pyrage.x25519.Identity
    daemon: pyrage.x25519.Identity = field(repr=False)

    def reference(self, *, at_s: float, is_exact: bool = False, **changes: tuple[str, ...]) -> IndexReference:
        patterns = {"include": (), "exclude": (), "unsteady": ()} | changes
        return IndexReference(
            store=self.store,
            index=self.index,
            identity=str(self.daemon),
            is_encrypted=True,
            artifact_at_s=at_s,
            is_exact=is_exact,
            **patterns,
        )

    def contents_order(self, *, identity: str | None = None) -> VerifyOrder:
        return VerifyOrder(
            store=self.store,
            objects=(self.data,),
            index=self.index,
            level="contents",
            identity=identity or str(self.operator),
            index_identity=str(self.daemon),
            is_encrypted=True,
            totals=self.totals,
            deadline_s=60.0,
        )

    def path(self, stored: StoredObject) -> Path:
        return Path(str(self.store.path)) / stored.key


def stored(tree: Path, place: Path) -> StoredTree:
    """Archive `tree` as GNU tar would, and store it under `place`, encrypted."""
    operator, daemon = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(tree, arcname=".")
    content = written.getvalue()
    frames = FrameWriter(level=1, threads=0, frame_bytes=1 << 16)
    compressed = b"".join((*frames.write(content), *frames.end_frame()))
    with closing(IndexSpool()) as spool:
        reader = TarReader(spool.add)
        reader.feed(content)
        reader.finish()
        spool.seal()
        header = IndexHeader(ExportId("X1"), frames.frames, reader.entries)
        index = b"".join(spool.stream(header))
    recipients = [operator.to_public(), daemon.to_public()]
    return StoredTree(
        store=StoreOrder(name="shelf", type=StoreType.DIRECTORY, path=str(place)),
        data=_put(place, "app/data/2026/X1/data.tar.zst.age", pyrage.encrypt(compressed, recipients[:1])),
        index=_put(place, "app/data/2026/X1/index.jsonl.zst.age", pyrage.encrypt(index, recipients)),
        totals=TarTotals(
            entries=reader.entries,
            files=reader.files,
            content_bytes=reader.content_bytes,
            tar_bytes=len(content),
            tar_sha256=hashlib.sha256(content).hexdigest(),
        ),
        operator=operator,
        daemon=daemon,
    )


def _put(place: Path, key: str, content: bytes) -> StoredObject:
    path = place / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return StoredObject(key, len(content), hashlib.sha256(content).hexdigest())

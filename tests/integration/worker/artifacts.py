"""Artifacts made by hand from tar members, evil ones too, in a directory store."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import pyrage

from flykeep.adapters.codecs.zstd_frames import FrameWriter
from flykeep.adapters.system import SystemClock
from flykeep.domain import layout
from flykeep.domain.artifact import IndexEntry, IndexHeader, StoredObject, TarTotals
from flykeep.domain.artifact_index import encode_entry, encode_header
from flykeep.domain.ids import ExportId
from flykeep.domain.tar_stream import TarReader
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.ports.worker import ExtractOrder, ExtractResult
from flykeep.worker.channel import Flow, StoppedError
from flykeep.worker.extract import Extraction
from flykeep.worker.report import Reporter

Member = tuple[tarfile.TarInfo, bytes]
PREFIX = "my-crocbot/crocbot_data/2026/X1"
OPERATOR = pyrage.x25519.Identity.generate()
INDEX = pyrage.x25519.Identity.generate()


def member(name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, to: str = "", mode: int = 0) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mtime = kind, to, len(content), 1_700_000_000
    info.mode = mode or (0o755 if kind == tarfile.DIRTYPE else 0o644)
    return info, content


def folder(name: str, mode: int = 0o755) -> Member:
    return member(name, kind=tarfile.DIRTYPE, mode=mode)


def tarred(members: list[Member]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return written.getvalue()


@dataclass
class Made:
    """One artifact as an order needs it."""

    root: Path
    order: ExtractOrder

    def path(self, number: int = 0) -> Path:
        return self.root / self.order.objects[number].key

    def extract(self, directory: Path, *paths: str, is_overwriting: bool = False, **changes: object) -> ExtractResult:
        """Extract in this process; raises what the worker would report."""
        order = replace(
            self.order,
            directory=str(directory),
            paths=paths,
            is_overwriting=is_overwriting,
            **changes,  # type: ignore[arg-type]
        )
        flow = Flow()
        try:
            return Extraction(order, flow=flow, reporter=Reporter(io.BytesIO(), SystemClock())).run()
        except StoppedError:
            assert flow.failure is not None
            raise flow.failure from None


def made(
    root: Path,
    members: list[Member],
    *,
    is_encrypted: bool = True,
    frame_bytes: int = 64 << 20,
    parts: int = 1,
    indexed: list[Member] | None = None,
) -> Made:
    """Store these members; `indexed` are others that the index tells of."""
    data = tarred(members)
    entries: list[IndexEntry] = []
    reader = TarReader(entries.append)
    reader.feed(tarred(indexed) if indexed is not None else data)
    writer = FrameWriter(level=1, threads=0, frame_bytes=frame_bytes)
    packed = b"".join([*writer.write(data), *writer.end_frame()])
    header = IndexHeader(export_id=ExportId("X1"), frames=writer.frames, entries=len(entries))
    lines = b"".join([encode_header(header), *map(encode_entry, entries)])
    index_writer = FrameWriter(level=1, threads=0, frame_bytes=1 << 20)
    index = b"".join([*index_writer.write(lines), *index_writer.end_frame()])
    if is_encrypted:
        packed = pyrage.encrypt(packed, [OPERATOR.to_public()])
        index = pyrage.encrypt(index, [OPERATOR.to_public(), INDEX.to_public()])
    step = -(-len(packed) // parts)
    pieces = [packed[at : at + step] for at in range(0, len(packed), step)]
    totals = TarTotals(reader.entries, reader.files, reader.content_bytes, len(data), hashlib.sha256(data).hexdigest())
    order = ExtractOrder(
        export_id=header.export_id,
        store=StoreOrder(name="shelf", type=StoreType.DIRECTORY, path=str(root)),
        objects=tuple(
            stored(root, layout.data_key(PREFIX, is_encrypted=is_encrypted, part=at if parts > 1 else None), piece)
            for at, piece in enumerate(pieces, 1)
        ),
        index=stored(root, layout.index_key(PREFIX, is_encrypted=is_encrypted), index),
        identity=str(OPERATOR) if is_encrypted else None,
        index_identity=str(INDEX) if is_encrypted else None,
        is_encrypted=is_encrypted,
        totals=totals,
        paths=(),
        directory="",
        is_overwriting=False,
        deadline_s=60,
    )
    return Made(root, order)


def stored(root: Path, key: str, content: bytes) -> StoredObject:
    (root / key).parent.mkdir(parents=True, exist_ok=True)
    (root / key).write_bytes(content)
    return StoredObject(key, len(content), hashlib.sha256(content).hexdigest())

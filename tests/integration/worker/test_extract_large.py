"""One small file out of two gibibytes: what leaves the store for it."""

from __future__ import annotations

import hashlib
import mmap
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

from flykeep.adapters.codecs import age_stream
from flykeep.adapters.codecs.zstd_frames import FrameWriter
from flykeep.domain.artifact import IndexEntry, IndexHeader, StoredObject, TarTotals
from flykeep.domain.artifact_index import encode_entry, encode_header
from flykeep.domain.tar_stream import TarReader
from flykeep.ports.store import StoreOrder
from tests.full import full
from tests.integration.worker.artifacts import INDEX, OPERATOR, Made, made, member, stored
from tests.s3_standin import S3Standin

MIB = 1 << 20
SMALL = b"the one file somebody needs\n" * 40
LARGE = 17  # files of 124 MiB, which is not a multiple of a frame


def tar_of(block: bytes) -> Iterator[bytes]:
    """Large files that cannot be compressed, and a small one behind most of a frame."""
    for number in range(LARGE):
        size = 124 * MIB
        yield header(f"large-{number:02}", size)
        for _ in range(size // len(block)):
            yield block
        if number == 11:
            yield header("small", len(SMALL)) + SMALL + bytes(-len(SMALL) % 512)
    yield bytes(10240)


def header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def made_large(root: Path) -> Made:
    """As an export makes it, and nothing of it held in memory."""
    base = made(root, [member("x")]).order
    entries: list[IndexEntry] = []
    reader, digest = TarReader(entries.append), hashlib.sha256()
    writer = FrameWriter(level=1, threads=0, frame_bytes=64 * MIB)

    def frames() -> Iterator[bytes]:
        for piece in tar_of(os.urandom(31 * MIB)):
            reader.feed(piece)
            yield from writer.write(piece)
        yield from writer.end_frame()

    key = base.objects[0].key
    with (root / key).open("wb") as file:

        def write(sealed: bytes) -> None:
            digest.update(sealed)
            file.write(sealed)

        age_stream.encrypt(frames(), write, recipients=[str(OPERATOR.to_public())])
    lines = [encode_header(IndexHeader(base.export_id, writer.frames, len(entries))), *map(encode_entry, entries)]
    packing = FrameWriter(level=1, threads=0, frame_bytes=MIB)
    index = b"".join([*packing.write(b"".join(lines)), *packing.end_frame()])
    sealed_index: list[bytes] = []
    age_stream.encrypt([index], sealed_index.append, recipients=[str(INDEX.to_public())])
    order = replace(
        base,
        objects=(StoredObject(key, (root / key).stat().st_size, digest.hexdigest()),),
        index=stored(root, base.index.key, b"".join(sealed_index)),
        totals=TarTotals(len(entries), reader.files, reader.content_bytes, 3 << 30, ""),
    )
    return Made(root, order)


@full("makes an artifact of 2 GiB")
def test_one_small_file_of_two_gibibytes_costs_less_than_200_mib(
    roomy: Path, tmp_path: Path, standin: S3Standin, s3_store: StoreOrder
) -> None:
    artifact = made_large(roomy / "store")
    assert artifact.path().stat().st_size > 2 << 30

    from_directory = artifact.extract(tmp_path / "directory", "small")

    with artifact.path().open("rb") as data:
        held = standin.contents.objects
        held[f"b/{artifact.order.objects[0].key}"] = cast("bytes", mmap.mmap(data.fileno(), 0, prot=mmap.PROT_READ))
        held[f"b/{artifact.order.index.key}"] = (artifact.root / artifact.order.index.key).read_bytes()
        from_bucket = artifact.extract(tmp_path / "bucket", "small", store=s3_store)

    for name in ("directory", "bucket"):
        assert (tmp_path / name / "small").read_bytes() == SMALL
    assert from_directory.read_bytes < 200 * MIB
    assert from_bucket.read_bytes <= standin.contents.sent_bytes < 200 * MIB

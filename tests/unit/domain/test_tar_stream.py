"""The tar reader against the standard library's writer, in pieces of any size, and against everything cut short."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import TruncatedStreamError
from flykeep.domain.tar_stream import BLOCK, TarReader, from_root
from tests.full import examples

KINDS = {
    tarfile.REGTYPE: EntryType.FILE,
    tarfile.DIRTYPE: EntryType.DIRECTORY,
    tarfile.SYMTYPE: EntryType.SYMLINK,
    tarfile.LNKTYPE: EntryType.HARDLINK,
    tarfile.FIFOTYPE: EntryType.FIFO,
    tarfile.CHRTYPE: EntryType.CHAR,
    tarfile.BLKTYPE: EntryType.BLOCK,
}
names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and not name.endswith(b"/"))


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(names).decode("utf-8", "surrogateescape"))
    info.type = draw(st.sampled_from(sorted(KINDS)))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, 1 << 40)), draw(st.integers(0, 1 << 40))
    info.mtime = draw(st.integers(-(1 << 40), 1 << 40))
    content = draw(st.binary(max_size=2000)) if info.type == tarfile.REGTYPE else b""
    info.size = len(content)
    if info.type in {tarfile.SYMTYPE, tarfile.LNKTYPE}:
        info.linkname = draw(names).decode("utf-8", "surrogateescape")
    return info, content


def written(items: list[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form, errors="surrogateescape") as archive:
        for info, content in items:
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def read(data: bytes, *, piece: int = 1 << 20) -> tuple[TarReader, list[IndexEntry]]:
    entries: list[IndexEntry] = []
    reader = TarReader(entries.append)
    for at in range(0, len(data), piece):
        reader.feed(data[at : at + piece])
    reader.finish()
    return reader, entries


def entry_of(info: tarfile.TarInfo, content: bytes, offset: int) -> IndexEntry:
    raw = info.name.encode("utf-8", "surrogateescape")
    target = info.linkname.encode("utf-8", "surrogateescape")
    link_target = {tarfile.SYMTYPE: target, tarfile.LNKTYPE: from_root(target)}.get(info.type)
    return IndexEntry(
        path=from_root(raw),
        type=KINDS[info.type],
        size_bytes=len(content),
        mode=info.mode,
        uid=info.uid,
        gid=info.gid,
        mtime_s=int(info.mtime),
        link_target=link_target,
        sha256=hashlib.sha256(content).hexdigest() if info.type == tarfile.REGTYPE else None,
        offset=offset,
    )


@settings(deadline=None, max_examples=examples(150))
@given(items=st.lists(members(), max_size=6), piece=st.integers(1, 3000))
def test_what_gnu_format_holds_is_reported_exactly_whatever_the_pieces(
    items: list[tuple[tarfile.TarInfo, bytes]], piece: int
) -> None:
    data = written(items, tarfile.GNU_FORMAT)
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        offsets = [found.offset for found in archive]

    reader, entries = read(data, piece=piece)

    assert entries == [entry_of(info, content, at) for (info, content), at in zip(items, offsets, strict=True)]
    assert reader.files == sum(info.type == tarfile.REGTYPE for info, _ in items)
    assert reader.content_bytes == sum(len(content) for _, content in items)


@settings(deadline=None, max_examples=examples(60))
@given(items=st.lists(members(), min_size=1, max_size=4))
def test_pax_headers_outrank_the_plain_ones(items: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    for info, _ in items:
        info.mtime = abs(info.mtime)
    _, entries = read(written(items, tarfile.PAX_FORMAT))
    assert [(e.uid, e.gid, e.mtime_s, e.size_bytes) for e in entries] == [
        (info.uid, info.gid, info.mtime, len(content)) for info, content in items
    ]


def sample() -> bytes:
    info = tarfile.TarInfo("a" * 150)
    info.size = 700
    return written([(info, b"x" * 700)] * 3, tarfile.GNU_FORMAT)


def test_every_proper_prefix_of_an_archive_is_refused() -> None:
    data = sample().rstrip(b"\0")
    whole = len(data) + (-len(data) % BLOCK) + 2 * BLOCK
    archive = sample()[:whole]
    read(archive)
    for length in range(0, whole, 64):
        with pytest.raises(TruncatedStreamError):
            read(archive[:length])


def test_zeros_may_follow_the_end_but_nothing_else() -> None:
    read(sample() + bytes(BLOCK * 20))
    with pytest.raises(TruncatedStreamError, match="follow"):
        read(sample() + b"x" * BLOCK)
    with pytest.raises(TruncatedStreamError, match="whole number of blocks"):
        read(sample() + bytes(7))


def test_a_second_archive_behind_the_first_is_refused() -> None:
    with pytest.raises(TruncatedStreamError, match="follow"):
        read(sample() + sample())


def test_a_damaged_header_is_refused() -> None:
    data = bytearray(sample())
    data[5] ^= 1
    with pytest.raises(TruncatedStreamError, match="checksum"):
        read(bytes(data))


@pytest.mark.parametrize(
    ("name", "path"),
    [(b"./a", b"a"), (b"./", b"."), (b".", b"."), (b"./a/b/", b"a/b"), (b"a", b"a"), (b"./.hidden", b".hidden")],
)
def test_a_path_counts_from_the_root_of_the_volume(name: bytes, path: bytes) -> None:
    assert from_root(name) == path


@pytest.mark.parametrize("field", [b"-512", b"\xff" * 12])
def test_a_size_below_zero_is_refused(field: bytes) -> None:
    info = tarfile.TarInfo("a")
    if field.startswith(b"-"):
        info.pax_headers = {"size": field.decode()}
        data = written([(info, b"")], tarfile.PAX_FORMAT)
    else:
        block = bytearray(written([(info, b"")], tarfile.GNU_FORMAT)[:BLOCK])
        block[124:136] = field
        block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
        data = bytes(block)
    with pytest.raises(TruncatedStreamError, match="below zero"):
        read(data)


def test_a_global_header_may_comment_but_not_name(tmp_path: Path) -> None:
    for name, is_allowed in {"comment": True, "path": False, "linkpath": False, "size": False}.items():
        with tarfile.open(tmp_path / "tar", "w", format=tarfile.PAX_FORMAT, pax_headers={name: "7"}) as archive:
            archive.addfile(tarfile.TarInfo("a"))
        if is_allowed:
            assert [entry.path for entry in read((tmp_path / "tar").read_bytes())[1]] == [b"a"]
            continue
        with pytest.raises(TruncatedStreamError, match="global tar header"):
            read((tmp_path / "tar").read_bytes())


def test_a_reader_that_does_not_hash_gives_the_same_entries_without_digests() -> None:
    items = [(tarfile.TarInfo(name), b"content") for name in ("a", "b/c")]
    for info, content in items:
        info.size = len(content)
    archive, found = written(items, tarfile.GNU_FORMAT), list[IndexEntry]()
    reader = TarReader(found.append, is_hashing=False)
    reader.feed(archive)
    reader.finish()
    assert found == [replace(entry, sha256=None) for entry in read(archive)[1]]

"""Headers written from entries mean the same to flykeep, Python's tarfile and the tars of machines."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import InternalError
from flykeep.domain.tar_stream import TarReader
from flykeep.domain.tar_writer import END_OF_ARCHIVE, header_of, padding_of

LINKS = {EntryType.SYMLINK, EntryType.HARDLINK}
NAMES = st.binary(min_size=1, max_size=30).filter(lambda name: not {0, 47} & set(name) and name not in {b".", b".."})
PATHS = st.lists(NAMES, min_size=1, max_size=9).map(b"/".join)


def _only_member(archive: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="latin-1") as opened:
        (member,) = opened.getmembers()
    return member


@st.composite
def entries(draw: st.DrawFn) -> IndexEntry:
    kind = draw(st.sampled_from([*sorted(LINKS), EntryType.FILE, EntryType.DIRECTORY, EntryType.FIFO]))
    return IndexEntry(
        path=draw(PATHS),
        type=kind,
        size_bytes=draw(st.integers(0, 700)) if kind is EntryType.FILE else 0,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, (1 << 32) - 2)),
        gid=draw(st.integers(0, (1 << 32) - 2)),
        mtime_s=draw(st.integers(-(1 << 40), 1 << 40)),
        link_target=draw(PATHS) if kind in LINKS else None,
        sha256=None,
        offset=0,
    )


@given(st.lists(entries(), max_size=4))
def test_what_is_written_is_read_back_as_the_same_entries(wanted: list[IndexEntry]) -> None:
    archive = b"".join(header_of(entry) + b"x" * entry.size_bytes + padding_of(entry.size_bytes) for entry in wanted)
    found: list[IndexEntry] = []

    reader = TarReader(found.append)
    reader.feed(archive + END_OF_ARCHIVE)
    reader.finish()

    assert [replace(entry, sha256=None, offset=0) for entry in found] == wanted


@given(entries())
def test_another_reader_understands_the_same(entry: IndexEntry) -> None:
    archive = header_of(entry) + b"x" * entry.size_bytes + padding_of(entry.size_bytes) + END_OF_ARCHIVE

    found = _only_member(archive)

    assert found.name.encode("latin-1") == entry.path
    assert (found.size, found.mode, found.uid, found.gid) == (entry.size_bytes, entry.mode, entry.uid, entry.gid)
    assert found.mtime == entry.mtime_s
    if entry.type in LINKS:
        assert found.linkname.encode("latin-1") == entry.link_target


def test_a_hard_link_moves_with_its_target_and_a_symbolic_one_stays() -> None:
    base = IndexEntry(b"a", EntryType.HARDLINK, 0, 0o644, 0, 0, 0, b"b", None, 0)

    moved = _only_member(header_of(base, below=b"new/") + END_OF_ARCHIVE)
    kept = _only_member(header_of(replace(base, type=EntryType.SYMLINK), below=b"new/") + END_OF_ARCHIVE)

    assert (moved.name, moved.linkname) == ("new/a", "new/b")
    assert (kept.name, kept.linkname) == ("new/a", "b")


def test_long_names_and_links_have_members_of_their_own() -> None:
    long = b"n" * 90 + b"/" + b"m" * 250
    entry = IndexEntry(long, EntryType.SYMLINK, 0, 0o777, 0, 0, 0, b"t" * 300, None, 0)

    member = _only_member(header_of(entry) + END_OF_ARCHIVE)

    assert (member.name.encode(), member.linkname) == (long, "t" * 300)


def test_a_device_is_never_written() -> None:
    with pytest.raises(InternalError):
        header_of(IndexEntry(b"null", EntryType.CHAR, 0, 0o666, 0, 0, 0, None, None, 0))

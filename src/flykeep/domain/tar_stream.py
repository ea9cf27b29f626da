"""Reads a tar stream's headers while its bytes pass by, in any pieces, and proves that the archive ended.

Understands what GNU tar and busybox tar write: ustar, GNU long names and links, pax headers, base-256 numbers and
GNU's sparse members. It keeps no content. Source: POSIX.1-2017 pax "ustar Interchange Format"; GNU tar manual, "Basic
Tar Format".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import TruncatedStreamError

BLOCK = 512
_ZERO_BLOCK = bytes(BLOCK)
_END_BLOCKS = 2
_MAX_EXTENSION_BYTES = 1 << 20
_CHECKSUM = slice(148, 156)
_SPARSE_EXTENDED_AT = 482
_SPARSE_MORE_AT = 504

_TYPES = {
    b"0": EntryType.FILE,
    b"\0": EntryType.FILE,
    b"7": EntryType.FILE,
    b"S": EntryType.FILE,
    b"1": EntryType.HARDLINK,
    b"2": EntryType.SYMLINK,
    b"3": EntryType.CHAR,
    b"4": EntryType.BLOCK,
    b"5": EntryType.DIRECTORY,
    b"6": EntryType.FIFO,
}
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, _SPARSE = b"L", b"K", b"x", b"g", b"S"
_EXTENSIONS = frozenset({_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL})
_PLACING = frozenset({b"path", b"linkpath", b"size"})
_WITHOUT_CONTENT = frozenset(b"123456"[at : at + 1] for at in range(6))


_Steps = Generator[int, bytes, None]
_ExtensionSteps = Generator[int, bytes, bytes]


@dataclass(slots=True)
class _Overrides:
    """What extension headers say about the next member."""

    path: bytes | None = None
    link_target: bytes | None = None
    size_bytes: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_s: int | None = None
    is_sparse: bool = False


@dataclass(frozen=True, slots=True)
class TarHeader:
    """A member before its content: `entry` has no sha256 yet. A sparse member's content is not the file's."""

    entry: IndexEntry
    is_sparse: bool


class TarSink(Protocol):
    """Takes members as they pass. What it raises comes out of `TarReader.feed`."""

    def begin(self, header: TarHeader) -> None:
        """A member starts; none of its content has been handed over."""
        ...

    def content(self, piece: memoryview) -> None:
        """The next bytes of the member begun last; the memory is the caller's and changes after the call."""
        ...

    def end(self, entry: IndexEntry) -> None:
        """The member is over; `entry` is complete."""
        ...


class TarReader:
    """Feed it a tar stream; it calls `on_entry` for each member once its content has passed.

    `on_entry` sees entries in stream order, so memory does not grow with the archive. Errors: TruncatedStreamError for
    whatever is not a well-formed archive; `finish` raises it unless the end of archive was seen and nothing but zeros
    followed it. A `sink` gets contents too, without a copy. Without `is_hashing` entries bear no sha256.
    """

    def __init__(
        self, on_entry: Callable[[IndexEntry], None], *, sink: TarSink | None = None, is_hashing: bool = True
    ) -> None:
        self._on_entry = on_entry
        self._sink = sink
        self._is_hashing = is_hashing
        self._steps = self._read()
        self._need = next(self._steps)
        self._pending = bytearray()
        self._position = 0
        self._content_left = 0
        self._content_hash = hashlib.sha256()
        self._has_ended = False
        self._entries = 0
        self._files = 0
        self._content_bytes = 0

    @property
    def entries(self) -> int:
        return self._entries

    @property
    def files(self) -> int:
        """Regular files, hard links not counted."""
        return self._files

    @property
    def content_bytes(self) -> int:
        """Bytes of regular files, as the archive holds them."""
        return self._content_bytes

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next piece of the stream, of any size."""
        view = memoryview(data)
        at = 0
        while at < len(view):
            if self._has_ended:
                self._check_padding(view[at:])
                return
            at += self._take_content(view[at:]) if self._content_left else self._take_block(view[at:])

    def finish(self) -> None:
        """The stream is over: raise TruncatedStreamError unless it was a whole archive."""
        if not self._has_ended:
            raise TruncatedStreamError("the tar stream stops before the archive's end", facts=self._where())
        if self._position % BLOCK:
            raise TruncatedStreamError("the tar stream is not a whole number of blocks", facts=self._where())

    def _where(self) -> dict[str, str | int | None]:
        return {"tar_bytes": self._position, "entries": self._entries}

    def _check_padding(self, view: memoryview) -> None:
        if view.tobytes().strip(b"\0"):
            raise TruncatedStreamError("bytes follow the tar archive's end", facts=self._where())
        self._position += len(view)

    def _take_content(self, view: memoryview) -> int:
        piece = view[: self._content_left]
        if self._is_hashing:
            self._content_hash.update(piece)
        if self._sink is not None:
            self._sink.content(piece)
        self._content_left -= len(piece)
        self._position += len(piece)
        if not self._content_left:
            self._step(b"")
        return len(piece)

    def _take_block(self, view: memoryview) -> int:
        """Collect the bytes the reader waits for; the common case, a whole block at hand, copies it once."""
        piece = view[: self._need - len(self._pending)]
        self._pending += piece
        self._position += len(piece)
        if len(self._pending) == self._need:
            block = bytes(self._pending)
            self._pending.clear()
            self._step(block)
        return len(piece)

    def _step(self, block: bytes) -> None:
        try:
            self._need = self._steps.send(block)
        except StopIteration:
            self._has_ended = True

    def _read(self) -> _Steps:
        """The archive as a sequence of needs: yields how many bytes it wants, and is sent them."""
        overrides = _Overrides()
        start = 0
        zero_blocks = 0
        while zero_blocks < _END_BLOCKS:
            block = yield BLOCK
            if block == _ZERO_BLOCK:
                zero_blocks += 1
                continue
            if zero_blocks:
                raise TruncatedStreamError("a single zero block stands inside the tar archive", facts=self._where())
            _check(block, at=self._position - BLOCK)
            kind = block[156:157]
            size_bytes = _number(block[124:136])
            if kind in _EXTENSIONS:
                text = yield from self._extension(size_bytes)
                _apply(kind, text, overrides)
                continue
            yield from self._member(block, overrides, start=start)
            overrides = _Overrides()
            start = self._position

    def _extension(self, size_bytes: int) -> _ExtensionSteps:
        if size_bytes > _MAX_EXTENSION_BYTES:
            raise TruncatedStreamError("a tar extension header is absurdly long", facts=self._where())
        padded = -(-size_bytes // BLOCK) * BLOCK
        if not padded:
            return b""
        return (yield padded)[:size_bytes]

    def _member(self, block: bytes, overrides: _Overrides, *, start: int) -> _Steps:
        kind = block[156:157]
        entry_type = _TYPES.get(kind, EntryType.OTHER)
        size_bytes = 0 if kind in _WITHOUT_CONTENT else _number(block[124:136])
        if overrides.size_bytes is not None and kind not in _WITHOUT_CONTENT:
            size_bytes = overrides.size_bytes
        if size_bytes < 0:
            raise TruncatedStreamError("a tar member has a size below zero", facts=self._where())
        if kind == _SPARSE and block[_SPARSE_EXTENDED_AT]:
            while (yield BLOCK)[_SPARSE_MORE_AT]:
                pass
        if self._sink is not None:
            header = _entry(block, overrides, entry_type, size_bytes=size_bytes, start=start, sha256=None)
            self._sink.begin(TarHeader(header, is_sparse=kind == _SPARSE or overrides.is_sparse))
        self._content_hash = hashlib.sha256()
        if size_bytes:
            self._content_left = size_bytes
            yield 0
            if padding := -size_bytes % BLOCK:
                yield padding
        self._entries += 1
        if entry_type is EntryType.FILE:
            self._files += 1
            self._content_bytes += size_bytes
        sha256 = self._content_hash.hexdigest() if self._is_hashing and entry_type is EntryType.FILE else None
        entry = _entry(block, overrides, entry_type, size_bytes=size_bytes, start=start, sha256=sha256)
        if self._sink is not None:
            self._sink.end(entry)
        self._on_entry(entry)


def _entry(
    block: bytes, overrides: _Overrides, entry_type: EntryType, *, size_bytes: int, start: int, sha256: str | None
) -> IndexEntry:
    is_link = entry_type in {EntryType.HARDLINK, EntryType.SYMLINK}
    link_target = overrides.link_target if overrides.link_target is not None else _text(block[157:257])
    if entry_type is EntryType.HARDLINK:
        link_target = from_root(link_target)
    return IndexEntry(
        path=from_root(overrides.path if overrides.path is not None else _header_path(block)),
        type=entry_type,
        size_bytes=size_bytes,
        mode=_number(block[100:108]) & 0o7777,
        uid=overrides.uid if overrides.uid is not None else _number(block[108:116]),
        gid=overrides.gid if overrides.gid is not None else _number(block[116:124]),
        mtime_s=overrides.mtime_s if overrides.mtime_s is not None else _number(block[136:148]),
        link_target=link_target if is_link else None,
        sha256=sha256,
        offset=start,
    )


def from_root(name: bytes) -> bytes:
    """A member's name as a path from the volume's root: no `./` before it, no `/` behind it; the root is `.`."""
    return name.removeprefix(b"./").rstrip(b"/") or b"."


def _check(block: bytes, *, at: int) -> None:
    """A header's checksum is the sum of its bytes with the checksum field read as spaces."""
    expected = _number(block[_CHECKSUM])
    if sum(block) - sum(block[_CHECKSUM]) + 8 * 32 != expected:
        raise TruncatedStreamError("a tar header has a wrong checksum", facts={"offset": at})


def _number(field: bytes) -> int:
    """An octal field, or GNU's base-256 where the first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] == 0xFF else value
    digits = field.strip(b" \0")
    try:
        return int(digits, 8) if digits else 0
    except ValueError as error:
        raise TruncatedStreamError("a tar header holds something else than a number") from error


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _header_path(block: bytes) -> bytes:
    name = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _apply(kind: bytes, text: bytes, overrides: _Overrides) -> None:
    if kind == _LONG_NAME:
        overrides.path = _text(text)
    elif kind == _LONG_LINK:
        overrides.link_target = _text(text)
    elif kind == _PAX:
        for key, value in _pax_records(text):
            try:
                _apply_pax(key, value, overrides)
            except ValueError as error:
                raise TruncatedStreamError("a tar extension header holds something else than a number") from error
    elif kind == _PAX_GLOBAL and any(key in _PLACING for key, _ in _pax_records(text)):
        raise TruncatedStreamError("a global tar header names or sizes members, which tars understand differently")


def _apply_pax(key: bytes, value: bytes, overrides: _Overrides) -> None:
    overrides.is_sparse = overrides.is_sparse or key.startswith(b"GNU.sparse")
    match key:
        case b"path" | b"GNU.sparse.name":
            overrides.path = value
        case b"linkpath":
            overrides.link_target = value
        case b"size":
            overrides.size_bytes = int(value)
        case b"uid":
            overrides.uid = int(value)
        case b"gid":
            overrides.gid = int(value)
        case b"mtime":
            overrides.mtime_s = int(value.split(b".", 1)[0])
        case _:
            pass


def _pax_records(text: bytes) -> list[tuple[bytes, bytes]]:
    """`length key=value newline`, the length counting itself; a GNU sparse name outranks the plain one."""
    records: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(text):
        try:
            length = int(text[at : text.index(b" ", at)])
            record = text[at : at + length]
            key, value = record.split(b" ", 1)[1].split(b"=", 1)
        except ValueError as error:
            raise TruncatedStreamError("a tar extension header cannot be read") from error
        if length <= 0 or not value.endswith(b"\n"):
            raise TruncatedStreamError("a tar extension header cannot be read")
        records.append((key, value[:-1]))
        at += length
    return sorted(records, key=lambda record: record[0].startswith(b"GNU.sparse"))

"""Writes tar headers from what was understood of an archive, so that nothing else of it is passed on.

GNU's format with long names in members of their own: what GNU tar and busybox tar both read. Owners are numbers only.
Source: GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import struct

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import InternalError
from flykeep.domain.tar_stream import BLOCK

END_OF_ARCHIVE = bytes(2 * BLOCK)
_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_MAGIC = b"ustar  \0"
_NAME_BYTES = 100
_KINDS = {
    EntryType.FILE: b"0",
    EntryType.HARDLINK: b"1",
    EntryType.SYMLINK: b"2",
    EntryType.DIRECTORY: b"5",
    EntryType.FIFO: b"6",
}
_LONG_NAME, _LONG_LINK = b"L", b"K"
_LONG_MEMBER = b"././@LongLink"


def header_of(entry: IndexEntry, *, below: bytes = b"") -> bytes:
    """The blocks before an entry's content; its path, and a hard link's target, stand below the folder `below`.

    Raises InternalError for a type that is never passed on: devices.
    """
    kind = _KINDS.get(entry.type)
    if kind is None:
        raise InternalError("a tar header for a type that is never written", facts={"type": entry.type.value})
    path = below + entry.path + (b"/" if entry.type is EntryType.DIRECTORY else b"")
    link = entry.link_target or b""
    if entry.type is EntryType.HARDLINK:
        link = below + link
    size = entry.size_bytes if entry.type is EntryType.FILE else 0
    block = _block(path, kind, link, size=size, mode=entry.mode, owner=(entry.uid, entry.gid), mtime_s=entry.mtime_s)
    if len(link) > _NAME_BYTES:
        block = _long(_LONG_LINK, link) + block
    return _long(_LONG_NAME, path) + block if len(path) > _NAME_BYTES else block


def padding_of(size_bytes: int) -> bytes:
    """What fills the last block of a content."""
    return bytes(-size_bytes % BLOCK)


def _long(kind: bytes, text: bytes) -> bytes:
    content = text + b"\0"
    return _block(_LONG_MEMBER, kind, b"", size=len(content)) + content + padding_of(len(content))


def _block(
    path: bytes,
    kind: bytes,
    link: bytes,
    *,
    size: int,
    mode: int = 0,
    owner: tuple[int, int] = (0, 0),
    mtime_s: int = 0,
) -> bytes:
    fields = [
        path[:_NAME_BYTES],
        _number(mode, 8),
        _number(owner[0], 8),
        _number(owner[1], 8),
        _number(size, 12),
        _number(mtime_s, 12),
        b" " * 8,
        kind,
        link[:_NAME_BYTES],
        _MAGIC,
        *(b"",) * 5,
    ]
    checksum = sum(_FIELDS.pack(*fields))
    fields[6] = b"%06o\0 " % checksum
    return _FIELDS.pack(*fields)


def _number(value: int, width: int) -> bytes:
    """Octal, or GNU's base-256 where that is too short or the value is below zero."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    first = b"\xff" if value < 0 else b"\x80"
    return first + (value & ((1 << (8 * (width - 1))) - 1)).to_bytes(width - 1, "big")

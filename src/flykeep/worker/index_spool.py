"""Keeps the entries of an index on disk while the tar is read, so that memory does not grow with the tree."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from flykeep.adapters.codecs.zstd_frames import FrameWriter, decompressed
from flykeep.domain.artifact import IndexEntry, IndexHeader
from flykeep.domain.artifact_index import decode_entry, encode_entry, encode_header

_BUFFER_BYTES = 256 << 10
_FRAME_BYTES = 1 << 62  # one frame
_LEVEL = 3
_IN_MEMORY = 20_000  # about 10 MB


class IndexSpool:
    """Compressed entry lines in a temporary file without a name: nothing is left whatever ends the process."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._writer = FrameWriter(level=_LEVEL, threads=0, frame_bytes=_FRAME_BYTES)
        self._buffer = bytearray()

    def add(self, entry: IndexEntry) -> None:
        self._buffer += encode_entry(entry)
        if len(self._buffer) >= _BUFFER_BYTES:
            self._spill()

    def seal(self) -> None:
        """No more entries; needed before anything is read back."""
        self._spill()
        self._file.writelines(self._writer.end_frame())
        self._file.flush()

    def entries(self) -> Iterator[IndexEntry]:
        """Every entry again, in order; one reader at a time."""
        for line in lines(decompressed(self._content())):
            yield decode_entry(line)

    def stream(self, header: IndexHeader) -> Iterator[bytes]:
        """The finished index: the header in a frame of its own, then the entries."""
        writer = FrameWriter(level=_LEVEL, threads=0, frame_bytes=_FRAME_BYTES)
        yield from writer.write(encode_header(header))
        yield from writer.end_frame()
        yield from self._content()

    def close(self) -> None:
        self._file.close()

    def _spill(self) -> None:
        self._file.writelines(self._writer.write(bytes(self._buffer)))
        self._buffer = bytearray()

    def _content(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(_BUFFER_BYTES):
            yield chunk


class EntryList:
    """Entries to go through again: the first in memory, what is more than that on disk."""

    def __init__(self, *, in_memory: int = _IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._first: list[IndexEntry] = []
        self._rest = IndexSpool()

    def add(self, entry: IndexEntry) -> None:
        if len(self._first) < self._in_memory:
            self._first.append(entry)
        else:
            self._rest.add(entry)

    def seal(self) -> None:
        """No more entries; needed before any is read back."""
        self._rest.seal()

    def entries(self) -> Iterator[IndexEntry]:
        """Every entry again, in order; one reader at a time."""
        yield from self._first
        yield from self._rest.entries()

    def close(self) -> None:
        self._rest.close()


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines, newline excluded; a last line without one counts too."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest

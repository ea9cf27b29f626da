"""The tar inside a stored artifact, read at rising positions without what lies between them."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Generator, Iterator

from flykeep.adapters.codecs.age_ranges import AgeRanges
from flykeep.adapters.codecs.zstd_frames import decompressed
from flykeep.adapters.stores.objects import BulkStore
from flykeep.domain.artifact import Frame, StoredObject
from flykeep.domain.errors import IntegrityError

_FIRST_WINDOW_BYTES = 4 << 20
_NEAR_BYTES = 1 << 20


class StoredTar:
    """Reads only the frames that hold what is asked for. `identity` None means that nothing is encrypted.

    What it returns of an encrypted artifact is authenticated; of one in the clear it is not: compare digests. Errors:
    IntegrityError, StoreError; whatever `on_bytes` raises, which is told the size of each stored piece.
    """

    def __init__(
        self,
        store: BulkStore,
        objects: tuple[StoredObject, ...],
        frames: tuple[Frame, ...],
        *,
        identity: str | None,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._store = store
        self._objects = objects
        self._frames = frames
        self._starts = [frame.tar_offset for frame in frames]
        self._identity = identity
        self._on_bytes = on_bytes
        self._compressed: Callable[[int], Iterator[bytes]] | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._held = b""
        self._position = -1

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """Exactly these bytes of the tar, in pieces of at most 1 MiB; take them all before the next call."""
        self._seek(start)
        while length:
            piece = self._next()
            taken = piece[:length]
            self._held = piece[len(taken) :]
            self._position += len(taken)
            length -= len(taken)
            yield taken

    def close(self) -> None:
        """Stop reading from the store."""
        if isinstance(self._pieces, Generator):
            self._pieces.close()

    def _seek(self, start: int) -> None:
        if not self._can_go_on_to(start):
            self.close()
            if self._compressed is None:
                self._compressed = self._open()
            frame = self._frames[self._frame_at(start)]
            self._pieces, self._held = decompressed(self._compressed(frame.stream_offset)), b""
            self._position = frame.tar_offset
        while self._position < start:
            piece = self._next()
            skipped = min(len(piece), start - self._position)
            self._held = piece[skipped:]
            self._position += skipped

    def _can_go_on_to(self, start: int) -> bool:
        """Whether the frame that is open, or the beginning of the next one, leads there."""
        if not 0 <= self._position <= start:
            return False
        return start - self._position <= _NEAR_BYTES or self._frame_at(start) == self._frame_at(self._position)

    def _next(self) -> bytes:
        piece = self._held or next(self._pieces, b"")
        if not piece:
            raise IntegrityError("the data ends before the index does", facts={"tar_bytes": self._position})
        return piece

    def _frame_at(self, position: int) -> int:
        """The frame that holds this position, -1 before the first."""
        return bisect.bisect_right(self._starts, position) - 1

    def _open(self) -> Callable[[int], Iterator[bytes]]:
        """The compressed stream from any place on."""
        for stored in self._objects:
            if (found := self._store.size_bytes(stored.key)) != stored.size_bytes:
                raise IntegrityError(
                    "a stored object is not what was written",
                    facts={"key": stored.key, "stored_bytes": found, "expected_bytes": stored.size_bytes},
                )
        total = sum(stored.size_bytes for stored in self._objects)
        if self._identity is None:
            return lambda start: self._stored(start, total - start)
        stream = AgeRanges(self._stored, sealed_bytes=total, identity=self._identity)
        return lambda start: stream.read(start, stream.plain_bytes - start)

    def _stored(self, start: int, length: int) -> Iterator[bytes]:
        """Bytes of the objects as if they were one."""
        end, begins_at = start + length, 0
        for stored in self._objects:
            first, last = max(start - begins_at, 0), min(end - begins_at, stored.size_bytes)
            if first < last:
                pieces = self._store.read_part(stored.key, first, last - first, first_window_bytes=_FIRST_WINDOW_BYTES)
                for piece in pieces:
                    self._on_bytes(len(piece))
                    yield piece
            begins_at += stored.size_bytes

"""Puts a stream into a store as one or several objects, and reads them back."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from flykeep.adapters.stores.objects import BulkStore
from flykeep.domain.artifact import StoredObject
from flykeep.domain.errors import FlykeepError, IntegrityError, StoreError

PART_LIMIT = 10_000  # parts of one multipart upload; source: Amazon S3 User Guide, "Multipart upload limits"
_EDGE_BYTES = 64 << 10
_SMALL_CHUNK_BYTES = 8 << 20
_LARGE_CHUNK_BYTES = 16 << 20
_GROWTH = 1.1
_GROWTH_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class UploadPlan:
    """How a stream is cut. `is_numbered` objects end in .00001, .00002 and so on, which `cat` joins."""

    chunk_bytes: int
    concurrency: int
    object_limit_bytes: int
    is_numbered: bool

    @classmethod
    def of(cls, expected_bytes: int | None, *, part_limit: int = PART_LIMIT) -> UploadPlan:
        """Memory stays near 40 MiB: small parts where they suffice, then larger but fewer, then several objects."""
        likely = (expected_bytes or 0) * _GROWTH + _GROWTH_BYTES
        if likely <= part_limit * _SMALL_CHUNK_BYTES:
            return cls(_SMALL_CHUNK_BYTES, 4, part_limit * _SMALL_CHUNK_BYTES, is_numbered=False)
        limit = part_limit * _LARGE_CHUNK_BYTES
        return cls(_LARGE_CHUNK_BYTES, 2, limit, is_numbered=likely > limit)


@dataclass(slots=True)
class _Tally:
    """What one object's bytes amount to."""

    size_bytes: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    head: bytes = b""
    tail: bytes = b""

    def add(self, data: bytes) -> None:
        self.size_bytes += len(data)
        self.digest.update(data)
        if len(self.head) < _EDGE_BYTES:
            self.head += data[: _EDGE_BYTES - len(self.head)]
        self.tail = data[-_EDGE_BYTES:] if len(data) >= _EDGE_BYTES else (self.tail + data)[-_EDGE_BYTES:]


class ObjectWriter:
    """Writes the objects of one artifact. Whatever was begun can be withdrawn, for no manifest names it yet."""

    def __init__(self, store: BulkStore, *, on_bytes: Callable[[int], None]) -> None:
        self._store = store
        self._on_bytes = on_bytes
        self._tallies: dict[str, _Tally] = {}

    def write(self, key: str, chunks: Iterator[bytes], plan: UploadPlan) -> tuple[StoredObject, ...]:
        """Store a stream under `key`, or under numbered keys. Raises what `chunks` raises, and the `store.*` family."""
        stream = _Stream(chunks)
        stored: list[StoredObject] = []
        while not stream.is_over:
            if stored and not plan.is_numbered:
                raise StoreError(
                    "the data grew past what one object of the store can hold",
                    hint="The next export expects more and stores several objects.",
                    facts={"key": key, "limit_bytes": plan.object_limit_bytes},
                )
            name = f"{key}.{len(stored) + 1:05}" if plan.is_numbered else key
            stored.append(self._upload(name, stream.take(plan.object_limit_bytes), plan))
        return tuple(stored)

    def read_back(self) -> None:
        """Raise IntegrityError unless the store returns what was written.

        A directory is read whole; of a remote object the size and both ends, its parts having been verified by the
        server as they came.
        """
        for key, tally in self._tallies.items():
            if self._store.is_directory:
                self._compare_all(key, tally)
            else:
                self._compare_edges(key, tally)

    def withdraw(self) -> None:
        """Delete what was begun, as far as the store answers."""
        for key in tuple(self._tallies):
            with contextlib.suppress(FlykeepError):
                self._store.delete(key)

    def _upload(self, key: str, chunks: Iterator[bytes], plan: UploadPlan) -> StoredObject:
        tally = self._tallies[key] = _Tally()
        self._store.upload(
            key, self._counted(chunks, tally), chunk_bytes=plan.chunk_bytes, concurrency=plan.concurrency
        )
        return StoredObject(key=key, size_bytes=tally.size_bytes, sha256=tally.digest.hexdigest())

    def _counted(self, chunks: Iterator[bytes], tally: _Tally) -> Iterator[bytes]:
        for chunk in chunks:
            tally.add(chunk)
            self._on_bytes(len(chunk))
            yield chunk

    def _compare_all(self, key: str, tally: _Tally) -> None:
        digest, size = hashlib.sha256(), 0
        for chunk in self._store.read(key):
            digest.update(chunk)
            size += len(chunk)
        if (size, digest.digest()) != (tally.size_bytes, tally.digest.digest()):
            raise IntegrityError("the store returned other bytes than were written", facts={"key": key})

    def _compare_edges(self, key: str, tally: _Tally) -> None:
        size = self._store.size_bytes(key)
        if size != tally.size_bytes:
            raise IntegrityError(
                "the stored object has another size than was written",
                facts={"key": key, "written_bytes": tally.size_bytes, "stored_bytes": size},
            )
        head = self._store.read_range(key, 0, len(tally.head))
        tail = self._store.read_range(key, size - len(tally.tail), len(tally.tail))
        if (head, tail) != (tally.head, tally.tail):
            raise IntegrityError("the store returned other bytes than were written", facts={"key": key})


class _Stream:
    """An iterator of pieces that can be taken by byte count."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""
        self.is_over = False
        self._advance()

    def take(self, limit: int) -> Iterator[bytes]:
        left = limit
        while left and not self.is_over:
            piece, self._held = self._held[:left], self._held[left:]
            left -= len(piece)
            yield piece
            if not self._held:
                self._advance()

    def _advance(self) -> None:
        self._held = next((chunk for chunk in self._chunks if chunk), b"")
        self.is_over = not self._held

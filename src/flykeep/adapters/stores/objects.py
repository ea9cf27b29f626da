"""Bulk data in and out of a store: synchronous, in constant memory, for worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import cast

import obstore
from obstore.exceptions import GenericError

from flykeep.adapters.stores.durable import sync_file
from flykeep.adapters.stores.foreign import FOREIGN, Translator
from flykeep.adapters.stores.opening import Opened, open_store, root_of
from flykeep.domain.errors import IntegrityError, StoreUnavailableError
from flykeep.domain.layout import ObjectRole, check_key, parse_key
from flykeep.ports.store import StoreOrder, StoreType

_REQUEST_TIMEOUT = timedelta(minutes=10)  # one part or one window, body included, over a slow line
_WHOLE_BODY_TIMEOUT = timedelta(days=2)
_PART_RETRIES = 5
_WINDOW_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_READ_ATTEMPTS = 4
_IGNORED_RANGE = "non-partial response"


def open_bulk(order: StoreOrder) -> BulkStore:
    """Open a store for bulk work without touching the network. Raises ConfigError, StoreError."""
    return BulkStore(order)


class BulkStore:
    """Moves objects of any size; every method blocks. Errors: the `store.*` family."""

    def __init__(self, order: StoreOrder, *, retries: int = _PART_RETRIES) -> None:
        self._order = order
        self._retries = retries
        self._translator = Translator.of(order)
        self._store: Opened = open_store(order, request_timeout=_REQUEST_TIMEOUT, retries=retries)

    @property
    def is_directory(self) -> bool:
        return self._order.type is StoreType.DIRECTORY

    def upload(self, key: str, chunks: Iterator[bytes], *, chunk_bytes: int, concurrency: int) -> None:
        """Store everything `chunks` yields as one object, all or nothing, durable on return.

        Memory: about `chunk_bytes * (concurrency + 1)`. What the iterator raises aborts the upload and is raised
        here unchanged: raising from it is the one way to stop an upload. The iterator runs in this thread.
        """
        check_key(key)
        source = _Source(chunks)
        failure: BaseException | None = None
        try:
            obstore.put(
                self._store,
                key,
                iter(source),
                attributes=self._attributes(key),
                chunk_size=chunk_bytes,
                max_concurrency=concurrency,
            )
        except FOREIGN as error:
            failure = source.error or self._translator.translate("store an object", key, error)
        if failure is not None:
            raise failure
        if self.is_directory:
            self._translator.call("sync an object", key, lambda: sync_file(root_of(self._order), key))

    def size_bytes(self, key: str) -> int:
        """Raises StoreNotFoundError."""
        check_key(key)
        return self._translator.call("look at an object", key, lambda: obstore.head(self._store, key)["size"])

    def read(self, key: str) -> Iterator[bytes]:
        """The whole object in order, in pieces of about 1 MiB; a broken connection is resumed where it broke.

        Raises StoreNotFoundError, and IntegrityError when fewer bytes come than the store announced.
        """
        return self.read_part(key, 0, self.size_bytes(key))

    def read_part(
        self, key: str, start: int, length: int, *, first_window_bytes: int = _WINDOW_BYTES
    ) -> Iterator[bytes]:
        """Exactly `length` bytes from `start`, as `read` does it, in windows that double from the first on.

        Close the iterator where the rest is not wanted: no further window is asked for. Where the server ignores
        ranges the whole object is read and cut. Source: rclone serve s3 answers 200.
        """
        check_key(key)
        position, end, attempts, window_bytes = start, start + length, 0, first_window_bytes
        while position < end:
            before = position
            try:
                for chunk in self._window(key, position, min(window_bytes, end - position)):
                    position += len(chunk)
                    yield chunk
                window_bytes = min(2 * window_bytes, _WINDOW_BYTES)
            except StoreUnavailableError:
                attempts = 1 if position > before else attempts + 1
                if attempts >= _READ_ATTEMPTS:
                    raise
            except _RangeIgnoredError:
                for chunk in _cut(self._whole(key), position, end):
                    position += len(chunk)
                    yield chunk
                break
            if position == before and attempts == 0:
                break
        if position != end:
            raise IntegrityError(
                "An object ended early.", facts={"store": self._order.name, "key": key, "expected_bytes": end}
            )

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes from `start`; fewer only where the object ends first."""
        check_key(key)
        if length <= 0 or start >= (size := self.size_bytes(key)):
            return b""
        return b"".join(self.read_part(key, start, min(length, size - start)))

    def honours_ranges(self, key: str) -> bool:
        """Whether asking for a part of this object of at least two bytes brings that part alone."""
        try:
            return len(b"".join(self._window(key, 0, 1))) == 1
        except _RangeIgnoredError:
            return False

    def delete(self, key: str) -> None:
        """Deleting what is not there is not an error."""
        check_key(key)
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except FOREIGN as error:
            failure = self._translator.translate("delete an object", key, error)
        else:
            return
        raise failure

    def _attributes(self, key: str) -> dict[str, str] | None:
        place = parse_key(key)
        if self._order.data_storage_class and place is not None and place.role is ObjectRole.DATA:
            return {"Storage-Class": self._order.data_storage_class}
        return None

    def _window(self, key: str, start: int, length: int) -> Iterator[bytes]:
        def open_range() -> Iterator[bytes]:
            try:
                got = obstore.get(self._store, key, options={"range": (start, start + length)})
            except GenericError as error:
                if _IGNORED_RANGE in str(error):
                    raise _RangeIgnoredError from None
                raise
            return cast("Iterator[bytes]", iter(got.stream(min_chunk_size=_CHUNK_BYTES)))

        stream = self._translator.call("read an object", key, open_range)
        for chunk in self._translator.pull("read an object", key, stream):
            yield bytes(chunk)

    def _whole(self, key: str) -> Iterator[bytes]:
        store = open_store(self._order, request_timeout=_WHOLE_BODY_TIMEOUT, retries=self._retries)
        got = self._translator.call("read an object", key, lambda: obstore.get(store, key))
        stream = cast("Iterator[bytes]", iter(got.stream(min_chunk_size=_CHUNK_BYTES)))
        for chunk in self._translator.pull("read an object", key, stream):
            yield bytes(chunk)


class _RangeIgnoredError(Exception):
    """The server sent the whole object where a part was asked for."""


class _Source:
    """Remembers what the caller's iterator raised, so that it can be told from a failure of the store."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


def _cut(chunks: Iterator[bytes], start: int, end: int) -> Iterator[bytes]:
    position = 0
    for chunk in chunks:
        if piece := chunk[max(start - position, 0) : max(end - position, 0)]:
            yield piece
        position += len(chunk)
        if position >= end:
            return

"""A store for small objects, asynchronous, over obstore: one attempt per call, each within a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, timedelta
from typing import TypeVar

import obstore

from flykeep.adapters.stores.durable import discard_staged, sync_file
from flykeep.adapters.stores.foreign import Translator
from flykeep.adapters.stores.opening import Opened, open_store, root_of
from flykeep.domain.errors import StoreError, StorePreconditionError, StoreUnavailableError
from flykeep.domain.layout import check_key
from flykeep.ports.store import ObjectInfo, StoreOrder, StoreType

T = TypeVar("T")

_REQUEST_TIMEOUT = timedelta(seconds=30)
_CALL_TIMEOUT = timedelta(seconds=90)  # a call is a few requests; a listing of a large store is many
_CHUNK_BYTES = 1 << 20
_CONDITION_UNKNOWN = 501


class ObjectStore:
    """Implements ports.store.Store over S3 or a directory.

    A call that runs into its time limit raises StoreUnavailableError; its thread ends by itself, at the latest with
    the request's own limit. Writes to a directory are on the disk, not only in the cache, when they return.
    """

    def __init__(
        self,
        order: StoreOrder,
        *,
        request_timeout: timedelta = _REQUEST_TIMEOUT,
        call_timeout: timedelta = _CALL_TIMEOUT,
    ) -> None:
        self._order = order
        self._request_timeout = request_timeout
        self._call_timeout = call_timeout
        self._translator = Translator.of(order)
        self._opened: Opened | None = None
        self._is_create_atomic: bool | None = None

    @property
    def is_create_atomic(self) -> bool | None:
        return self._is_create_atomic

    @property
    def name(self) -> str:
        return self._order.name

    async def put_new(self, key: str, data: bytes) -> None:
        """As the port says, and as sharply as the server allows.

        The write carries `If-None-Match: *`, or creates the file exclusively. Some servers ignore that header and some
        refuse it, so the first write of a process is repeated: the same bytes must then be refused. Where they are
        not, the key is looked at before each write, and the stored bytes are compared after. That narrows the window in
        which two writers both succeed on such a server, and cannot close it: keys carry a fresh export id.
        Source: rclone serve s3 1.75 ignores the header; others answer 501.
        """
        await self._call("create an object", key, lambda store: self._put_new(store, key, data))

    async def put(self, key: str, data: bytes) -> None:
        await self._call("store an object", key, lambda store: self._put(store, key, data))

    async def get(self, key: str, *, limit_bytes: int = 64 << 20) -> bytes:
        return await self._call("read an object", key, lambda store: self._get(store, key, limit_bytes))

    async def head(self, key: str) -> ObjectInfo:
        return await self._call("look at an object", key, lambda store: _info(obstore.head(store, key)))

    async def list(self, prefix: str) -> Sequence[ObjectInfo]:
        check_prefix(prefix)
        return await self._call("list objects", prefix, lambda store: _list(store, prefix), is_key=False)

    async def delete(self, key: str) -> None:
        await self._call("delete an object", key, lambda store: _delete(store, key))

    async def discard_unfinished(self, prefix: str) -> None:
        check_prefix(prefix)
        if self._order.type is StoreType.DIRECTORY:
            folder = root_of(self._order) / prefix.rpartition("/")[0]
            await self._call("clean up", prefix, lambda _: discard_staged(folder), is_key=False)

    async def _call(self, action: str, key: str, work: Callable[[Opened], T], *, is_key: bool = True) -> T:
        if is_key:
            check_key(key)
        blocking = asyncio.to_thread(self._translator.call, action, key, lambda: work(self._open()))
        try:
            async with asyncio.timeout(self._call_timeout.total_seconds()):
                return await blocking
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"Store {self.name} did not {action} within {self._call_timeout.total_seconds():g} s.",
                facts={"store": self.name, "key": key},
            ) from error

    def _open(self) -> Opened:
        if self._opened is None:
            self._opened = open_store(self._order, request_timeout=self._request_timeout, retries=0)
        return self._opened

    def _put(self, store: Opened, key: str, data: bytes) -> None:
        obstore.put(store, key, data, use_multipart=False)
        self._sync(key)

    def _put_new(self, store: Opened, key: str, data: bytes) -> None:
        if self._is_create_atomic:
            self._create(store, key, data)
            self._sync(key)
            return
        if _exists(store, key):
            raise self._taken(key)
        is_sent = self._create_or_put(store, key, data)
        self._sync(key)
        if bytes(obstore.get(store, key).bytes()) != data:
            raise self._taken(key)
        if self._is_create_atomic is None:
            self._is_create_atomic = self._refuses_again(store, key, data) if is_sent else False

    def _create(self, store: Opened, key: str, data: bytes) -> None:
        self._translator.call(
            "create an object", key, lambda: obstore.put(store, key, data, mode="create", use_multipart=False)
        )

    def _create_or_put(self, store: Opened, key: str, data: bytes) -> bool:
        """Whether the server took the condition; where it refuses to know it, the object is written without."""
        try:
            self._create(store, key, data)
        except StoreError as error:
            if error.facts.get("status") != str(_CONDITION_UNKNOWN):
                raise
            obstore.put(store, key, data, use_multipart=False)
            return False
        return True

    def _refuses_again(self, store: Opened, key: str, data: bytes) -> bool | None:
        """Whether a second create is refused; None where the store did not say. The object itself is written."""
        try:
            self._create(store, key, data)
        except StorePreconditionError:
            return True
        except StoreError:
            return None
        return False

    def _taken(self, key: str) -> StorePreconditionError:
        return StorePreconditionError(
            f"Store {self.name} holds this object already.", facts={"store": self.name, "key": key}
        )

    def _get(self, store: Opened, key: str, limit_bytes: int) -> bytes:
        got = obstore.get(store, key)
        kept = bytearray()
        for chunk in got.stream(min_chunk_size=_CHUNK_BYTES):
            kept += chunk
            if len(kept) > limit_bytes:
                raise StoreError(
                    f"An object of store {self.name} is larger than {limit_bytes} bytes.",
                    facts={"store": self.name, "key": key, "size_bytes": got.meta["size"]},
                )
        return bytes(kept)

    def _sync(self, key: str) -> None:
        if self._order.type is StoreType.DIRECTORY:
            sync_file(root_of(self._order), key)


def check_prefix(prefix: str) -> None:
    """Raise StoreError for a prefix that no key can have; the empty one is every key's."""
    check_key(f"{prefix}x")


def _exists(store: Opened, key: str) -> bool:
    try:
        obstore.head(store, key)
    except FileNotFoundError:
        return False
    return True


def _delete(store: Opened, key: str) -> None:
    try:
        obstore.delete(store, key)
    except FileNotFoundError:
        return


def _list(store: Opened, prefix: str) -> list[ObjectInfo]:
    """The library lists whole path segments only, so the last, partial one is matched here."""
    folder = prefix.rpartition("/")[0] or None
    found = [_info(meta) for batch in obstore.list(store, prefix=folder) for meta in batch]
    return sorted((each for each in found if each.key.startswith(prefix)), key=lambda each: each.key)


def _info(meta: obstore.ObjectMeta) -> ObjectInfo:
    return ObjectInfo(key=meta["path"], size_bytes=meta["size"], modified_at=meta["last_modified"].astimezone(UTC))

"""The one place where calls to a store are tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from flykeep.domain.errors import StoreError, StorePreconditionError
from flykeep.ports.clock import Clock, IdSource
from flykeep.ports.store import ObjectInfo, Store

T = TypeVar("T")

_ATTEMPTS = 4
_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=15)


class RetryingStore:
    """A store that waits and tries again where the error's class says that may help.

    Pauses double from `first_pause`, each shortened by up to half at random. Cancelling ends the waiting at once.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        ids: IdSource,
        attempts: int = _ATTEMPTS,
        first_pause: timedelta = _FIRST_PAUSE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._attempts = attempts
        self._first_pause = first_pause

    @property
    def name(self) -> str:
        return self._store.name

    @property
    def is_create_atomic(self) -> bool | None:
        return self._store.is_create_atomic

    async def put_new(self, key: str, data: bytes) -> None:
        """An attempt whose answer was lost may have written: a later refusal is settled by looking."""
        attempted = 0

        async def once() -> None:
            nonlocal attempted
            attempted += 1
            try:
                await self._store.put_new(key, data)
            except StorePreconditionError:
                if attempted == 1 or await self._store.get(key) != data:
                    raise

        await self._retry(once)

    async def put(self, key: str, data: bytes) -> None:
        await self._retry(lambda: self._store.put(key, data))

    async def get(self, key: str, *, limit_bytes: int = 64 << 20) -> bytes:
        return await self._retry(lambda: self._store.get(key, limit_bytes=limit_bytes))

    async def head(self, key: str) -> ObjectInfo:
        return await self._retry(lambda: self._store.head(key))

    async def list(self, prefix: str) -> Sequence[ObjectInfo]:
        return await self._retry(lambda: self._store.list(prefix))

    async def delete(self, key: str) -> None:
        await self._retry(lambda: self._store.delete(key))

    async def discard_unfinished(self, prefix: str) -> None:
        await self._retry(lambda: self._store.discard_unfinished(prefix))

    async def _retry(self, once: Callable[[], Awaitable[T]]) -> T:
        pause = self._first_pause
        for _ in range(self._attempts - 1):
            try:
                return await once()
            except StoreError as error:
                if not error.is_retryable:
                    raise
            await self._clock.sleep(pause * (1 - self._ids.jitter() / 2))
            pause = min(pause * 2, _LONGEST_PAUSE)
        return await once()

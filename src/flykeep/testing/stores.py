"""A store in memory that keeps the port's promises, for tests that need no files and no server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from flykeep.domain.errors import StoreError, StoreNotFoundError, StorePreconditionError
from flykeep.domain.layout import check_key
from flykeep.ports.clock import Clock
from flykeep.ports.store import ObjectInfo

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryStore:
    """Implements ports.store.Store in this process. `fail_with` makes the next calls fail, one error a call."""

    def __init__(self, name: str = "memory", *, clock: Clock | None = None) -> None:
        self._name = name
        self._clock = clock
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._failures: list[Exception] = []
        self._is_create_atomic: bool | None = None

    @property
    def name(self) -> str:
        return self._name

    def fail_with(self, *errors: Exception) -> None:
        """Let each of the next calls raise one of these instead of doing anything."""
        self._failures.extend(errors)

    @property
    def is_create_atomic(self) -> bool | None:
        return self._is_create_atomic

    async def put_new(self, key: str, data: bytes) -> None:
        self._enter(key)
        if key in self._objects:
            raise StorePreconditionError(f"Store {self._name} holds this object already.", facts={"key": key})
        self._objects[key] = (bytes(data), self._now())
        self._is_create_atomic = True

    async def put(self, key: str, data: bytes) -> None:
        self._enter(key)
        self._objects[key] = (bytes(data), self._now())

    async def get(self, key: str, *, limit_bytes: int = 64 << 20) -> bytes:
        self._enter(key)
        data, _ = self._found(key)
        if len(data) > limit_bytes:
            raise StoreError(f"The object is larger than {limit_bytes} bytes.", facts={"key": key})
        return data

    async def head(self, key: str) -> ObjectInfo:
        self._enter(key)
        data, modified_at = self._found(key)
        return ObjectInfo(key=key, size_bytes=len(data), modified_at=modified_at)

    async def list(self, prefix: str) -> Sequence[ObjectInfo]:
        self._enter(f"{prefix}x")
        return [
            ObjectInfo(key=key, size_bytes=len(data), modified_at=modified_at)
            for key, (data, modified_at) in sorted(self._objects.items())
            if key.startswith(prefix)
        ]

    async def delete(self, key: str) -> None:
        self._enter(key)
        self._objects.pop(key, None)

    async def discard_unfinished(self, prefix: str) -> None:
        self._enter(f"{prefix}x")

    def _enter(self, key: str) -> None:
        check_key(key)
        if self._failures:
            raise self._failures.pop(0)

    def _found(self, key: str) -> tuple[bytes, datetime]:
        if key not in self._objects:
            raise StoreNotFoundError(f"Store {self._name} holds no such object.", facts={"key": key})
        return self._objects[key]

    def _now(self) -> datetime:
        return self._clock.now() if self._clock else _EPOCH

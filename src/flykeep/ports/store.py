"""Where artifacts live. Small objects only: bulk data moves in workers, never through this port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    key: str
    size_bytes: int
    modified_at: datetime


class Store(Protocol):
    """Keys are slash-separated and relative to the store's prefix. Errors: the `store.*` family."""

    @property
    def name(self) -> str: ...

    @property
    def is_create_atomic(self) -> bool | None:
        """Whether the store itself refuses a second create; None as long as this process has created nothing.

        Where it does not, `put_new` looks before it writes and reads back after.
        """
        ...

    async def put_new(self, key: str, data: bytes) -> None:
        """Write all or nothing, only where no object has this key; raises StorePreconditionError otherwise."""
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Write all or nothing, replacing what is there."""
        ...

    async def get(self, key: str, *, limit_bytes: int = 64 << 20) -> bytes:
        """Raises StoreNotFoundError; StoreError when the object is larger than `limit_bytes`."""
        ...

    async def head(self, key: str) -> ObjectInfo:
        """Raises StoreNotFoundError."""
        ...

    async def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """Every object whose key starts with `prefix`, sorted by key."""
        ...

    async def delete(self, key: str) -> None:
        """Deleting what is not there is not an error."""
        ...

    async def discard_unfinished(self, prefix: str) -> None:
        """Remove what writes under `prefix` left that were broken off by the death of their process.

        None of it is listed. A bucket does not show such parts: there its own lifecycle rule removes them.
        """
        ...


class StoreType(StrEnum):
    S3 = "s3"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class StoreOrder:
    """How a process opens a store; travels to a worker on its standard input, never by argument or environment.

    `data_storage_class` is for an artifact's data alone: its index and manifest are read often. With `is_locking` the
    bucket's default retention locks what is written, and every write carries a checksum. With `links`, pairs of key and
    presigned URL, those objects can be read and nothing else; then there are no credentials.
    """

    name: str
    type: StoreType
    prefix: str = ""
    path: str | None = None
    bucket: str | None = None
    endpoint: str | None = None
    region: str = "auto"
    is_path_style: bool = True
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    server_side_encryption: str | None = None  # "AES256" | "aws:kms"
    kms_key_id: str | None = None
    data_storage_class: str | None = None
    is_locking: bool = False
    links: tuple[tuple[str, str], ...] = field(default=(), repr=False)


class Links(Protocol):
    """Makes orders for machines that must not have a store's credentials."""

    def linked(self, order: StoreOrder, keys: Sequence[str], *, valid_for: timedelta) -> StoreOrder:
        """An order that reads these objects and nothing else; a directory's stays as it is. Raises StoreError."""
        ...

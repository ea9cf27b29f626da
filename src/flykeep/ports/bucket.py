"""What only a bucket's own interface tells, beyond its objects: unfinished uploads, and the rules it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from flykeep.ports.store import StoreOrder


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in parts that was begun and neither finished nor aborted; `key` is relative to the store's prefix."""

    key: str
    upload_id: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """An answer in words that people read, None where the bucket has no such thing; or why it could not be learned."""

    value: str | None = None
    why_unknown: str | None = None


@dataclass(frozen=True, slots=True)
class BucketRules:
    """`abort`: when unfinished uploads under the store's prefix are removed. `retention`: the bucket's default.

    `locked_until` is that of the object that was asked about. `versioning`: whether deleted objects stay as versions.
    """

    abort: Told
    retention: Told
    locked_until: Told
    versioning: Told = field(default_factory=Told)


class Buckets(Protocol):
    """Asks in a process of its own. Errors: the `store.*` family; StoreToolMissingError where it cannot ask at all."""

    async def uploads(self, order: StoreOrder) -> Sequence[Upload]:
        """Every unfinished upload under the store's prefix, whoever began it; none in a directory."""
        ...

    async def abort(self, order: StoreOrder, uploads: Sequence[Upload]) -> None:
        """Remove them and their parts; one that is gone already is not an error."""
        ...

    async def server_time(self, order: StoreOrder) -> datetime | None:
        """What the store's clock says, to the second; None for a directory. Asked without credentials."""
        ...

    async def rules(self, order: StoreOrder, key: str) -> BucketRules:
        """What the bucket does by itself, and to the object under `key`."""
        ...

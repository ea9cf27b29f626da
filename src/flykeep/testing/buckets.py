"""Buckets in memory that keep the port's promises, for tests that need no server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from flykeep.domain.errors import StoreError
from flykeep.ports.bucket import BucketRules, Told, Upload
from flykeep.ports.store import StoreOrder, StoreType

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryBuckets:
    """Implements ports.bucket.Buckets. `failures` makes the next calls fail, one error a call; `asked` counts calls."""

    def __init__(self) -> None:
        self.begun: dict[str, list[Upload]] = {}
        self.failures: list[StoreError] = []
        self.answer = BucketRules(abort=Told("after 7 days"), retention=Told(), locked_until=Told())
        self.time: datetime | None = None
        self.asked = 0

    def begin(self, bucket: str | None, key: str) -> str:
        """Begin an upload under a whole key, prefix included."""
        uploads = self.begun.setdefault(str(bucket), [])
        uploads.append(Upload(key, f"upload-{len(uploads)}", _EPOCH))
        return uploads[-1].upload_id

    async def uploads(self, order: StoreOrder) -> Sequence[Upload]:
        self._enter()
        if order.type is StoreType.DIRECTORY:
            return ()
        prefix = f"{order.prefix}/"
        under = [one for one in self.begun.get(str(order.bucket), ()) if one.key.startswith(prefix)]
        return tuple(Upload(one.key.removeprefix(prefix), one.upload_id, one.begun_at) for one in under)

    async def abort(self, order: StoreOrder, uploads: Sequence[Upload]) -> None:
        self._enter()
        named = {upload.upload_id for upload in uploads}
        kept = [one for one in self.begun.get(str(order.bucket), ()) if one.upload_id not in named]
        self.begun[str(order.bucket)] = kept

    async def server_time(self, order: StoreOrder) -> datetime | None:
        self._enter()
        return None if order.type is StoreType.DIRECTORY else self.time

    async def rules(self, order: StoreOrder, key: str) -> BucketRules:  # noqa: ARG002 - the port's signature
        self._enter()
        return self.answer

    def _enter(self) -> None:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)

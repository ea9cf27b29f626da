"""The real clock, ids and randomness: the only module that may read any of them."""

from __future__ import annotations

import random
import secrets
import time
from datetime import UTC, datetime, timedelta

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        import asyncio  # noqa: PLC0415 - workers read this clock too, and start without a loop

        await asyncio.sleep(max(0.0, duration.total_seconds()))


class SystemIds:
    """Ids from the kernel's randomness; run ids are ULIDs, so that they sort by time."""

    def run_id(self) -> str:
        value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))

    def token(self) -> str:
        return secrets.token_hex(16)

    def jitter(self) -> float:
        return random.random()  # noqa: S311 - spreads load, guards nothing

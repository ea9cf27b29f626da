"""Fly's rate limits as token buckets on the simulator's clock."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.ports.clock import Clock

# 1/s per action and identifier, burst 3; Get Machine 5/s, burst 10.
# Source: docs, machines/api/working-with-machines-api.
_RATE_AND_BURST = (1.0, 3.0)
_GET_MACHINE = (5.0, 10.0)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at_s: float


class RateLimits:
    """One bucket per action and identifier."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def admit(self, *, action: str, identifier: str) -> bool:
        """Take one token; false where the bucket is empty."""
        rate, burst = _GET_MACHINE if action == "machine.get" else _RATE_AND_BURST
        now_s = self._clock.monotonic()
        bucket = self._buckets.setdefault((action, identifier), _Bucket(burst, now_s))
        bucket.tokens = min(burst, bucket.tokens + (now_s - bucket.filled_at_s) * rate)
        bucket.filled_at_s = now_s
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True

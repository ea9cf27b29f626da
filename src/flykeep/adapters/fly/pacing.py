"""Fly's rate limits kept on our side: calls wait for their turn and never fail for it.

Source: Fly docs, machines/api/working-with-machines-api: one request per second per action and identifier with a
burst of three; Get Machine five per second with a burst of ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flykeep.ports.clock import Clock

_MOST_IDLE_BUCKETS = 4096


@dataclass(frozen=True, slots=True)
class Limit:
    """How often one action may be called for one identifier."""

    per_second: float
    burst: int


DEFAULT_LIMIT = Limit(per_second=1.0, burst=3)
GET_MACHINE_LIMIT = Limit(per_second=5.0, burst=10)
GET_MACHINE = "machine.get"


@dataclass(slots=True)
class TokenBucket:
    """A token bucket that promises turns ahead; pure, told the time in seconds of one monotonic clock."""

    limit: Limit
    filled_at_s: float
    level: float = 0.0

    def __post_init__(self) -> None:
        self.level = float(self.limit.burst)

    def reserve(self, now_s: float) -> float:
        """Take one turn; returns the seconds to wait for it, zero where it is now.

        Turns are handed out in the order they are asked for. A clock that seems to step back adds nothing.
        """
        self._fill(now_s)
        self.level -= 1.0
        return max(0.0, -self.level / self.limit.per_second) + max(0.0, self.filled_at_s - now_s)

    def hold(self, now_s: float, *, for_s: float) -> None:
        """Let no turn begin within `for_s`: Fly said to come back later, so its own bucket is empty."""
        self._fill(now_s)
        self.level = min(self.level, 1.0 - for_s * self.limit.per_second)

    def is_full(self, now_s: float) -> bool:
        self._fill(now_s)
        return self.level >= self.limit.burst

    def _fill(self, now_s: float) -> None:
        elapsed_s = max(0.0, now_s - self.filled_at_s)
        self.level = min(float(self.limit.burst), self.level + elapsed_s * self.limit.per_second)
        self.filled_at_s = max(self.filled_at_s, now_s)


class Pacer:
    """One bucket per action and identifier, on the Clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], TokenBucket] = {}

    async def turn(self, action: str, identifier: str) -> None:
        """Return when the next request of this action for this identifier may go out."""
        wait_s = self._bucket(action, identifier).reserve(self._clock.monotonic())
        if wait_s > 0:
            await self._clock.sleep(timedelta(seconds=wait_s))

    def hold(self, action: str, identifier: str, *, duration: timedelta) -> None:
        """Make every later turn of this action and identifier wait at least `duration`."""
        self._bucket(action, identifier).hold(self._clock.monotonic(), for_s=duration.total_seconds())

    def _bucket(self, action: str, identifier: str) -> TokenBucket:
        key = (action, identifier)
        if key not in self._buckets:
            self._forget_idle()
            limit = GET_MACHINE_LIMIT if action == GET_MACHINE else DEFAULT_LIMIT
            self._buckets[key] = TokenBucket(limit, self._clock.monotonic())
        return self._buckets[key]

    def _forget_idle(self) -> None:
        if len(self._buckets) < _MOST_IDLE_BUCKETS:
            return
        now_s = self._clock.monotonic()
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.is_full(now_s)}

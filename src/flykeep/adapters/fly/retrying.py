"""The one place that asks Fly again.

A loop of our own instead of stamina: stamina sleeps on the event loop's clock and takes no other, and all waiting here
has to be on the Clock that was handed in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from flykeep.domain.errors import FlyError, FlyRateLimitedError
from flykeep.ports.clock import Clock, IdSource

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long; `longest_total` bounds the waiting between attempts, not the attempts."""

    attempts: int = 5
    first_wait: timedelta = timedelta(seconds=1)
    longest_wait: timedelta = timedelta(seconds=20)
    longest_total: timedelta = timedelta(seconds=90)


class Retrying:
    """Repeats an operation while its error's class says that this may help and repeating is harmless."""

    def __init__(self, *, clock: Clock, ids: IdSource, policy: RetryPolicy | None = None) -> None:
        self._clock = clock
        self._ids = ids
        self._policy = policy or RetryPolicy()

    async def call(self, operation: Callable[[], Awaitable[T]], *, is_safe: bool) -> T:
        """The operation's result, or its last error.

        `is_safe` says that a second effect does no harm. Without it only a rate limit is waited out: Fly refuses those
        before anything happens, while after every other failure the effect may already be there.
        """
        waited = timedelta(0)
        for attempt in range(1, self._policy.attempts + 1):
            try:
                return await operation()
            except FlyError as error:
                wait = self._wait_after(error, attempt=attempt)
                waited += wait
                is_over = attempt == self._policy.attempts or waited > self._policy.longest_total
                if is_over or not _may_repeat(error, is_safe=is_safe):
                    raise
            await self._clock.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _wait_after(self, error: FlyError, *, attempt: int) -> timedelta:
        """Doubling, with up to half again of jitter on top; never earlier than Fly asked for."""
        wait = min(self._policy.first_wait * (1 << (attempt - 1)), self._policy.longest_wait)
        if isinstance(error, FlyRateLimitedError) and error.retry_after is not None:
            wait = error.retry_after
        spread = min(wait, self._policy.longest_wait) * 0.5
        return wait + spread * self._ids.jitter()


def _may_repeat(error: FlyError, *, is_safe: bool) -> bool:
    return error.is_retryable and (is_safe or isinstance(error, FlyRateLimitedError))

"""Time and identity, handed in so that a test decides what they are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits; the only way anything in flykeep does either."""

    def now(self) -> datetime:
        """The current instant, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never steps back; only differences mean anything."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Return after `duration` of this clock has passed; a zero duration yields once."""
        ...


class IdSource(Protocol):
    """Makes identifiers that never repeat."""

    def run_id(self) -> str:
        """A new run id: 26 characters, sorts by the time it was made."""
        ...

    def token(self) -> str:
        """32 lowercase hexadecimal characters with no order, for owners, lineages and scratch names."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1), uniformly drawn."""
        ...

"""Trying how a store moves bulk data, in a process of its own like every move of bulk data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from flykeep.ports.store import StoreOrder


@dataclass(frozen=True, slots=True)
class TrialOrder:
    """Store `size_bytes` of noise under `key` in parts of `part_bytes`, and read it back. It is left there."""

    store: StoreOrder
    key: str
    size_bytes: int
    part_bytes: int
    deadline_s: float
    kind: Literal["trial"] = "trial"


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The bytes came back as they were; `are_ranges_honoured`: asking for a part brings that part alone."""

    parts: int
    sha256: str
    are_ranges_honoured: bool


class StoreTrials(Protocol):
    async def try_store(self, order: TrialOrder) -> TrialResult:
        """Raises the `store.*` family; IntegrityError where other bytes come back."""
        ...

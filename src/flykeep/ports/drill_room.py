"""Directories of this machine into which artifacts are restored for a drill."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from flykeep.domain.ids import RunId


class DrillRooms(Protocol):
    """One private directory a run, named after it. Errors: StateError where the place cannot be used."""

    async def free_bytes(self) -> int: ...

    def room(self, run_id: RunId) -> AbstractAsyncContextManager[str]:
        """An empty directory nobody else can read; it is gone at the end of the context, unless the process died."""
        ...

    async def left(self) -> Sequence[RunId]:
        """The runs that have a directory."""
        ...

    async def clear(self, run_id: RunId) -> None:
        """Remove a run's directory with all it holds; already gone is fine."""
        ...

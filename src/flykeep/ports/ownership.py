"""Who executes runs, and whether they still live: no heartbeat, no time-out to guess."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from flykeep.domain.ids import OwnerId


class Owners(Protocol):
    """Exclusive locks held by living processes; a lock that can be taken belongs to nobody alive."""

    def hold(self, owner_id: OwnerId, *, is_daemon: bool) -> AbstractAsyncContextManager[None]:
        """Be `owner_id` until the context ends or the process dies. Raises BusyError for a second daemon."""
        ...

    async def is_alive(self, owner_id: OwnerId) -> bool: ...

    async def is_daemon_alive(self) -> bool: ...

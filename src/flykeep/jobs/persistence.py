"""Changes whose answer is lost are looked at before they are asked for again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from flykeep.domain.errors import FlyError, FlyUnavailableError, FlyUnexpectedAnswerError
from flykeep.ports.clock import Clock

LOST = (FlyUnavailableError, FlyUnexpectedAnswerError)
"""After these nobody knows whether the change was made."""

_WAITS_S = (2, 5, 10)


async def until_done(
    clock: Clock, is_done: Callable[[], Awaitable[bool]], change: Callable[[], Awaitable[object]]
) -> None:
    """Make a change that may be asked for twice; not asked for where it is done already. Raises the last error."""
    waits = [*_WAITS_S, 0]
    lost: FlyError | None = None
    for wait_s in waits:
        try:
            if await is_done():
                return
            await change()
        except LOST as error:
            lost = error
        else:
            return
        await clock.sleep(timedelta(seconds=wait_s))
    assert lost is not None
    raise lost

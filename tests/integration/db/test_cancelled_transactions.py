"""A transaction whose task is cancelled leaves no lock behind, not even within a statement that the driver waits in."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from flykeep.adapters.db.engine import open_catalog
from flykeep.adapters.db.statements import to_its_end

_AGAIN_WITHIN_S = 10  # far below the database's own wait for a lock


@pytest.fixture
def no_collector() -> Iterator[None]:
    """A connection that only the collector would close must be seen as held."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_a_process_cancelled_while_it_waits_for_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'flykeep.db'}"
    async with open_catalog(url) as catalog, open_catalog(url) as other:

        async def work() -> None:
            async with catalog.transaction() as tx:
                await tx.save_note("name", "value")

        async with other.transaction() as tx:
            await tx.save_note("other", "before")
            task = asyncio.ensure_future(work())
            await asyncio.sleep(0.05)  # until the driver's thread waits
            for _ in range(2):  # again, as a task group does while its member still tidies up
                task.cancel()
                await asyncio.sleep(0.01)
            assert not task.done(), "the driver was left alone within a statement"
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)  # the thread gets the lock now
        async with asyncio.timeout(_AGAIN_WITHIN_S), other.transaction() as tx:
            assert await tx.note("name") is None
            await tx.save_note("other", "after")


async def test_a_cancellation_waits_for_the_end_and_is_passed_on() -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(0.01)
        ended.set()

    task = asyncio.ensure_future(to_its_end(work()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_an_error_is_that_of_the_work() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await to_its_end(work())

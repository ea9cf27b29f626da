"""What every kind of owners' locks promises within one process; tests with real processes show the rest.

`first` and `second` are two views of the same locks, as two processes would have them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from flykeep.domain.errors import BusyError
from flykeep.domain.ids import OwnerId
from flykeep.ports.ownership import Owners

ONE = OwnerId("1" * 32)
TWO = OwnerId("2" * 32)


async def nobody_lives_before_somebody_holds(first: Owners, second: Owners) -> None:
    assert not await first.is_alive(ONE)
    assert not await second.is_daemon_alive()


async def a_holder_lives_for_everybody_until_it_lets_go(first: Owners, second: Owners) -> None:
    async with first.hold(ONE, is_daemon=False):
        assert await first.is_alive(ONE)
        assert await second.is_alive(ONE)
        assert not await second.is_alive(TWO)
        assert not await second.is_daemon_alive()
    assert not await second.is_alive(ONE)


async def looking_twice_does_not_change_the_answer(first: Owners, second: Owners) -> None:
    async with first.hold(ONE, is_daemon=True):
        for _ in range(3):
            assert await second.is_alive(ONE)
            assert await second.is_daemon_alive()
    for _ in range(3):
        assert not await second.is_alive(ONE)
        assert not await second.is_daemon_alive()


async def a_second_daemon_is_refused_and_the_first_lives_on(first: Owners, second: Owners) -> None:
    async with first.hold(ONE, is_daemon=True):
        await _is_refused(second, TWO, is_daemon=True)
        assert await second.is_daemon_alive()
        assert not await second.is_alive(TWO)
        async with second.hold(TWO, is_daemon=False):
            assert await first.is_alive(TWO)
    async with second.hold(TWO, is_daemon=True):
        assert await first.is_daemon_alive()


async def an_owner_id_is_held_once(first: Owners, second: Owners) -> None:
    async with first.hold(ONE, is_daemon=False):
        await _is_refused(second, ONE, is_daemon=False)
        assert await second.is_alive(ONE)


async def a_refused_daemon_leaves_no_lock_behind(first: Owners, second: Owners) -> None:
    async with first.hold(ONE, is_daemon=False):
        await _is_refused(second, ONE, is_daemon=True)
        assert not await first.is_daemon_alive()


async def what_is_raised_while_holding_lets_go(first: Owners, second: Owners) -> None:
    class StoppedError(Exception):
        pass

    try:
        async with first.hold(ONE, is_daemon=True):
            raise StoppedError
    except StoppedError:
        pass
    assert not await second.is_alive(ONE)
    assert not await second.is_daemon_alive()


async def _is_refused(owners: Owners, owner_id: OwnerId, *, is_daemon: bool) -> None:
    try:
        async with owners.hold(owner_id, is_daemon=is_daemon):
            pass
    except BusyError:
        return
    raise AssertionError("a lock was held twice")


CHECKS: tuple[Callable[[Owners, Owners], Awaitable[None]], ...] = (
    nobody_lives_before_somebody_holds,
    a_holder_lives_for_everybody_until_it_lets_go,
    looking_twice_does_not_change_the_answer,
    a_second_daemon_is_refused_and_the_first_lives_on,
    an_owner_id_is_held_once,
    a_refused_daemon_leaves_no_lock_behind,
    what_is_raised_while_holding_lets_go,
)

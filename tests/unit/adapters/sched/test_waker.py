"""The waker wakes at slots and ticks, and decides nothing."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.adapters.sched.apscheduler import TICK, SlotTrigger, Waker
from flykeep.domain.policy import Schedule

NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
SHORT = timedelta(milliseconds=5)


def test_the_trigger_fires_at_the_next_slot_where_it_comes_before_the_tick() -> None:
    schedules = [Schedule("0 13 * * *"), Schedule("1 12 * * *")]
    trigger = SlotTrigger(lambda: schedules, tick=timedelta(hours=9))
    assert trigger.get_next_fire_time(None, NOON) == datetime(2026, 3, 2, 12, 1, tzinfo=UTC)


def test_the_trigger_fires_at_the_tick_where_no_slot_comes_before_it() -> None:
    assert SlotTrigger(list).get_next_fire_time(None, NOON) == NOON + TICK
    assert SlotTrigger(lambda: [Schedule("0 13 * * *")]).get_next_fire_time(None, NOON) == NOON + TICK


def test_schedules_are_asked_again_each_time() -> None:
    schedules: list[Schedule] = []
    trigger = SlotTrigger(lambda: schedules, tick=timedelta(hours=9))
    assert trigger.get_next_fire_time(None, NOON) == NOON + timedelta(hours=9)
    schedules.append(Schedule("0 13 * * *"))
    assert trigger.get_next_fire_time(None, NOON) == datetime(2026, 3, 2, 13, 0, tzinfo=UTC)


@given(late=st.timedeltas(timedelta(0), timedelta(days=30)))
def test_what_was_missed_is_one_wake_up_in_the_future(late: timedelta) -> None:
    trigger = SlotTrigger(lambda: [Schedule("*/5 * * * *", "Europe/Vienna")])
    now = NOON + late
    fires = [trigger.get_next_fire_time(NOON, now)]
    fires.append(trigger.get_next_fire_time(fires[0], now))
    assert now < fires[0] < fires[1]
    assert all(later - earlier <= TICK for earlier, later in pairwise([now, *fires]))


async def run_until(waker: Waker, done: asyncio.Event) -> None:
    task = asyncio.create_task(waker.run())
    try:
        async with asyncio.timeout(60):
            await done.wait()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_it_wakes_at_the_start_and_again_at_each_tick() -> None:
    wakes, done = 0, asyncio.Event()

    async def on_wake() -> None:
        nonlocal wakes
        wakes += 1
        if wakes == 3:
            done.set()

    await run_until(Waker(on_wake, list, tick=SHORT), done)
    assert wakes >= 3


async def test_it_never_wakes_twice_at_a_time_and_gathers_what_came_meanwhile() -> None:
    running, most, wakes = 0, 0, 0
    done = asyncio.Event()

    async def on_wake() -> None:
        nonlocal running, most, wakes
        running += 1
        wakes += 1
        most = max(most, running)
        for _ in range(3):
            waker.ring()
            await asyncio.sleep(0)
        running -= 1
        if wakes == 4:
            done.set()
            await asyncio.Event().wait()

    waker = Waker(on_wake, list, tick=timedelta(hours=1))
    await run_until(waker, done)
    assert (most, wakes) == (1, 4)


async def test_what_a_wake_up_raises_ends_the_run() -> None:
    async def on_wake() -> None:
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        async with asyncio.timeout(60):
            await Waker(on_wake, list).run()

"""Requests wait for their turn, at Fly's rates."""

import asyncio
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from flykeep.adapters.fly.pacing import DEFAULT_LIMIT, GET_MACHINE, GET_MACHINE_LIMIT, Limit, Pacer, TokenBucket
from flykeep.testing.clock import JumpingClock, ManualClock

_STEPS = st.lists(st.floats(min_value=0, max_value=5, allow_nan=False), min_size=1, max_size=60)
_LIMITS = st.sampled_from([DEFAULT_LIMIT, GET_MACHINE_LIMIT, Limit(per_second=0.5, burst=1)])


def _turns(limit: Limit, steps: list[float]) -> list[float]:
    """The instants at which requests go out that are asked for after each step."""
    bucket, now_s, turns = TokenBucket(limit, 0.0), 0.0, []
    for step in steps:
        now_s += step
        turns.append(now_s + bucket.reserve(now_s))
    return turns


@given(limit=_LIMITS, steps=_STEPS)
def test_no_window_holds_more_requests_than_the_burst_and_the_rate_allow(limit: Limit, steps: list[float]) -> None:
    turns = _turns(limit, steps)

    for first in range(len(turns)):
        for last in range(first, len(turns)):
            allowed = limit.burst + (turns[last] - turns[first]) * limit.per_second
            assert last - first + 1 <= allowed + 1e-6


@given(limit=_LIMITS, steps=_STEPS)
def test_turns_keep_the_order_in_which_they_were_asked_for(limit: Limit, steps: list[float]) -> None:
    turns = _turns(limit, steps)

    assert turns == sorted(turns)


@given(steps=_STEPS)
def test_no_request_waits_longer_than_the_limit_demands(steps: list[float]) -> None:
    asked = [sum(steps[: n + 1]) for n in range(len(steps))]
    turns = _turns(DEFAULT_LIMIT, steps)

    earliest: list[float] = []
    for n, at in enumerate(asked):
        # By hand: the latest of being asked and of what each earlier request leaves for this one.
        bounds = [earliest[m] + (n - m + 1 - DEFAULT_LIMIT.burst) for m in range(n)]
        earliest.append(max([at, *bounds]))
    assert all(abs(turn - bound) < 1e-6 for turn, bound in zip(turns, earliest, strict=True))


def test_a_clock_that_steps_back_gives_no_extra_turns() -> None:
    bucket = TokenBucket(DEFAULT_LIMIT, 100.0)

    waits = [bucket.reserve(now_s) for now_s in (100.0, 99.0, 100.0, 100.0)]

    assert waits == [0.0, 1.0, 0.0, 1.0]


async def test_the_fourth_request_of_one_app_waits_and_another_apps_does_not() -> None:
    clock = JumpingClock()
    pacer = Pacer(clock)

    for _ in range(3):
        await pacer.turn("snapshot.list", "one")
    assert clock.monotonic() == 0
    await pacer.turn("snapshot.list", "two")
    await pacer.turn("snapshot.create", "one")
    assert clock.monotonic() == 0
    await pacer.turn("snapshot.list", "one")
    assert clock.monotonic() == 1


async def test_machines_are_read_at_five_a_second_after_ten() -> None:
    clock = JumpingClock()
    pacer = Pacer(clock)

    for _ in range(20):
        await pacer.turn(GET_MACHINE, "3d8d9914b32183")

    assert abs(clock.monotonic() - 2.0) < 1e-6


async def test_after_a_refusal_every_turn_waits_as_long_as_fly_asked() -> None:
    clock = ManualClock()
    pacer = Pacer(clock)
    pacer.hold("snapshot.list", "one", duration=timedelta(seconds=7))

    waiting = [asyncio.create_task(pacer.turn("snapshot.list", "one")) for _ in range(2)]
    await clock.advance(timedelta(seconds=6.9))
    assert not any(task.done() for task in waiting)
    await clock.advance(timedelta(seconds=0.1))
    assert [task.done() for task in waiting] == [True, False]
    await clock.advance(timedelta(seconds=1))
    assert all(task.done() for task in waiting)


async def test_buckets_of_things_long_gone_are_forgotten() -> None:
    clock = JumpingClock()
    pacer = Pacer(clock)

    for number in range(10_000):
        await pacer.turn("machine.exec", str(number))
        if number % 1000 == 0:
            await clock.sleep(timedelta(seconds=10))

    assert len(pacer._buckets) < 6000

"""Token buckets on the clock."""

import asyncio
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from flykeep.testing.clock import ManualClock
from flykeep.testing.flysim.buckets import RateLimits


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3000)), max_size=60))
def test_no_identifier_is_ever_served_more_than_its_burst_and_rate(asked: list[tuple[str, int]]) -> None:
    clock = ManualClock()
    limits = RateLimits(clock)
    admitted = {"a": 0, "b": 0}

    async def ask_all() -> None:
        for identifier, pause_ms in asked:
            await clock.advance(timedelta(milliseconds=pause_ms))
            admitted[identifier] += limits.admit(action="volume.list", identifier=identifier)

    asyncio.run(ask_all())

    assert all(count <= 3 + clock.monotonic() + 0.001 for count in admitted.values())


def test_getting_a_machine_has_a_wider_bucket() -> None:
    limits = RateLimits(ManualClock())

    assert sum(limits.admit(action="machine.get", identifier="m") for _ in range(20)) == 10
    assert sum(limits.admit(action="machine.start", identifier="m") for _ in range(20)) == 3

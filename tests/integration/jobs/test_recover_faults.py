"""Whatever call of Fly's fails while a lost app is rebuilt, the next run ends it, and nothing is there twice."""

from __future__ import annotations

import contextlib

import pytest

from flykeep.domain.errors import FlyConflictError, FlyError, FlykeepError, FlyUnavailableError
from flykeep.domain.ids import AppName
from flykeep.domain.run import RunState
from tests.full import stride
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.recover_world import RecoverParts, recover_parts
from tests.integration.jobs.test_recover import assert_rebuilt

FAULTS: dict[str, tuple[FlyError, bool]] = {
    "an answer lost before the effect": (FlyUnavailableError("no answer"), False),
    "an answer lost after the effect": (FlyUnavailableError("no answer"), True),
    "a conflict": (FlyConflictError("somebody else works on it"), False),
}
_STRIDE = stride(3, 9)
_MOST_CALLS = 400


def break_call(made: RecoverParts, at: int, error: FlyError, *, is_after: bool) -> list[str]:
    """Let the n-th call fail; the list has the call's name once it did."""
    left, struck = at, list[str]()

    def fail(call: str, now_after: bool) -> None:
        nonlocal left
        left -= now_after == is_after
        if left == 0 and not struck:
            struck.append(call)
            raise type(error)(error.message)

    made.fly.watchers = [fail]
    return struck


@pytest.mark.parametrize("fault", FAULTS)
async def test_fly_may_fail_at_any_call_of_a_recovery(parts: Parts, fault: str) -> None:
    made, (error, is_after) = await recover_parts(parts), FAULTS[fault]
    failed = 0
    for at in range(1, _MOST_CALLS, _STRIDE):
        name = AppName(f"croc-{at}")
        struck = break_call(made, at, error, is_after=is_after)
        with contextlib.suppress(FlykeepError):
            await made.recover(name=name)
        made.fly.watchers = []
        if made.outcome is None:
            failed += 1
            assert (await made.recover(name=name)).state is RunState.SUCCEEDED, (at, struck)
        assert_rebuilt(made, name)
        if not struck:
            break
    assert not struck, "a recovery has more calls than were broken"
    assert failed > 0

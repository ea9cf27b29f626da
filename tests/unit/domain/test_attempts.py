from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flykeep.domain.attempts import plan_retry
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Failure, Outcome, Run, RunState, Slot

SLOT_AT = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
ENDED_AT = SLOT_AT + timedelta(minutes=5)
NOW = ENDED_AT + timedelta(seconds=1)


def attempt(number: int, state: RunState, *, code: str = "store.unavailable") -> Run:
    failure = Failure(code, "no", "next", exit_code=6) if state is RunState.FAILED else None
    return Run(
        id=RunId(str(number)),
        kind=JobKind.EXPORT,
        lineage_id=LineageId("l"),
        slot=Slot.scheduled(SLOT_AT, attempt=number),
        state=state,
        requested_at=SLOT_AT,
        due_at=SLOT_AT,
        ended_at=ENDED_AT if state.is_final else None,
        outcome=Outcome(state, failure=failure) if state.is_final else None,
    )


def attempts(*states: RunState) -> list[Run]:
    return [attempt(number, state) for number, state in enumerate(states, 1)]


def test_a_slot_without_runs_has_nothing_to_repeat() -> None:
    assert plan_retry([], now=NOW) is None


@pytest.mark.parametrize(
    "state",
    [
        RunState.PENDING,
        RunState.RUNNING,
        RunState.SUCCEEDED,
        RunState.DEGRADED,
        RunState.REFUSED,
        RunState.SKIPPED,
        RunState.CANCELLED,
    ],
)
def test_only_failed_and_interrupted_runs_are_repeated(state: RunState) -> None:
    assert plan_retry(attempts(state), now=NOW) is None


def test_failures_are_repeated_three_times_and_later_each_time() -> None:
    waits = []
    runs: list[Run] = []
    for number in range(1, 5):
        runs.insert(0, attempt(number, RunState.FAILED))  # the order of the rows does not matter
        retry = plan_retry(runs, now=NOW)
        waits.append(None if retry is None else (retry[0].key, retry[1] - ENDED_AT))
    assert waits == [
        ("2026-03-01T04:00:00Z~2", timedelta(minutes=1)),
        ("2026-03-01T04:00:00Z~3", timedelta(minutes=10)),
        ("2026-03-01T04:00:00Z~4", timedelta(hours=1)),
        None,
    ]


def test_an_interrupted_run_is_repeated_at_once() -> None:
    assert plan_retry(attempts(RunState.INTERRUPTED), now=NOW) == (Slot.scheduled(SLOT_AT, attempt=2), NOW)


def test_no_number_of_interruptions_loses_a_slot_but_a_row_of_them_is_slowed_down() -> None:
    waits = []
    for count in (3, 4, 5, 6, 40):
        retry = plan_retry(attempts(*[RunState.INTERRUPTED] * count), now=ENDED_AT)
        assert retry is not None
        waits.append(retry[1] - ENDED_AT)
    hour = timedelta(hours=1)
    assert waits == [timedelta(0), timedelta(minutes=1), timedelta(minutes=10), hour, hour]


def test_interruptions_use_up_none_of_the_attempts_of_failures() -> None:
    runs = attempts(*[RunState.INTERRUPTED] * 6, RunState.FAILED)
    retry = plan_retry(runs, now=NOW)
    assert retry is not None
    assert retry[1] == ENDED_AT + timedelta(minutes=1)


@pytest.mark.parametrize("code", ["usage.invalid", "config.invalid", "refused.busy", "internal.defect"])
def test_what_repeating_cannot_mend_is_not_repeated(code: str) -> None:
    assert plan_retry([attempt(1, RunState.FAILED, code=code)], now=NOW) is None


def test_a_manual_run_is_never_repeated() -> None:
    manual = replace(attempt(1, RunState.FAILED), slot=Slot.manual(RunId("1")))
    assert plan_retry([manual], now=NOW) is None


def test_the_next_attempt_is_due_now_where_its_wait_has_passed() -> None:
    later = ENDED_AT + timedelta(hours=5)
    retry = plan_retry(attempts(RunState.FAILED), now=later)
    assert retry is not None
    assert retry[1] == later

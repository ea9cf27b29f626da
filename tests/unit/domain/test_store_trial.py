"""What is made of a store's answers, against what its operator says of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flykeep.domain.store_trial import (
    StepState,
    StoreTrialReport,
    TrialStep,
    judge_abort_rule,
    judge_clock,
    judge_create_only,
    judge_delete,
    judge_lock,
    judge_place,
    judge_ranges,
)
from flykeep.domain.stores import StoreTraits

OK, WARNING, FAILED, UNKNOWN = StepState
PLAIN, LOCKED, KEPT = StoreTraits(), StoreTraits(is_lock_required=True), StoreTraits(are_deletes_refused=True)


@pytest.mark.parametrize(
    ("skew_s", "state"),
    [(0, OK), (60, OK), (-60, OK), (61, WARNING), (-61, WARNING), (300, WARNING), (301, FAILED), (-301, FAILED)],
)
def test_a_clock_that_is_off_is_warned_of_before_signatures_break(skew_s: int, state: StepState) -> None:
    step = judge_clock(timedelta(seconds=skew_s))
    assert step.state is state
    assert f"{abs(skew_s)} s {'behind' if skew_s < 0 else 'ahead of'} the store" in step.detail
    assert (step.hint is None) is (state is OK)


@pytest.mark.parametrize(
    ("is_refused", "is_atomic", "state"),
    [(True, True, OK), (True, False, WARNING), (True, None, WARNING), (False, False, FAILED), (False, True, FAILED)],
)
def test_a_second_create_must_be_refused_and_best_by_the_store(
    is_refused: bool, is_atomic: bool | None, state: StepState
) -> None:
    assert judge_create_only(is_refused=is_refused, is_atomic=is_atomic).state is state


@pytest.mark.parametrize(("are_honoured", "state"), [(True, OK), (False, WARNING)])
def test_ranges_that_are_ignored_cost_and_do_not_break(are_honoured: bool, state: StepState) -> None:
    assert judge_ranges(are_honoured=are_honoured).state is state


@pytest.mark.parametrize(
    ("traits", "retention", "locked_until", "state"),
    [
        (LOCKED, "governance, 3 days", "2026-03-04", OK),
        (LOCKED, None, "2026-03-04", OK),
        (LOCKED, "governance, 3 days", None, FAILED),  # a default that does not reach what came in parts
        (LOCKED, None, None, FAILED),
        (PLAIN, None, None, OK),
        (PLAIN, "compliance, 1 years", None, WARNING),
        (PLAIN, None, "2026-03-04", WARNING),
    ],
)
def test_a_lock_is_what_stored_data_shows(
    traits: StoreTraits, retention: str | None, locked_until: str | None, state: StepState
) -> None:
    step = judge_lock(traits, retention=retention, locked_until=locked_until)
    assert step.state is state
    assert (step.hint is None) is (state is OK)


@pytest.mark.parametrize(("rule", "state"), [("after 7 days", OK), (None, WARNING)])
def test_a_bucket_without_an_abort_rule_is_warned_of(rule: str | None, state: StepState) -> None:
    assert judge_abort_rule(rule).state is state


@pytest.mark.parametrize(
    ("traits", "refusal", "is_gone", "state"),
    [
        (PLAIN, None, True, OK),
        (LOCKED, None, True, OK),
        (PLAIN, None, False, FAILED),
        (PLAIN, "403", False, FAILED),
        (PLAIN, "403", True, FAILED),
        (KEPT, "403", False, OK),
        (KEPT, None, True, FAILED),
        (KEPT, None, False, FAILED),
        (KEPT, "403", True, FAILED),
    ],
)
def test_deletes_are_what_the_configuration_says(
    traits: StoreTraits, refusal: str | None, is_gone: bool, state: StepState
) -> None:
    assert judge_delete(traits, refusal=refusal, is_gone=is_gone).state is state


@pytest.mark.parametrize(("traits", "state"), [(PLAIN, WARNING), (LOCKED, OK)])
def test_a_bucket_that_keeps_versions_frees_nothing(traits: StoreTraits, state: StepState) -> None:
    step = judge_delete(traits, refusal=None, is_gone=True, are_versions_kept=True)
    assert step.state is state
    assert "hidden" in step.detail


@pytest.mark.parametrize("is_on_platform", [True, False])
def test_a_store_on_the_platform_is_named_as_one(is_on_platform: bool) -> None:
    step = judge_place(StoreTraits(is_on_platform=is_on_platform))
    assert step.state is (WARNING if is_on_platform else OK)
    assert ("lost together" in step.detail) is is_on_platform


@pytest.mark.parametrize("state", StepState)
def test_only_a_failure_makes_a_store_sick(state: StepState) -> None:
    assert StoreTrialReport("s", (TrialStep("a", OK, ""), TrialStep("b", state, ""))).is_healthy is (
        state is not FAILED
    )

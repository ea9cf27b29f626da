"""`[verify]`: when stored artifacts are read again, and how much of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flykeep.settings import InvalidSettingsError
from flykeep.settings.checking import check_settings
from tests.unit.settings.conftest import GOOD, Load


def test_artifacts_are_verified_unless_it_is_switched_off(load: Load) -> None:
    assert load().verify.schedule is not None
    table = '\n[verify]\ncron = "0 1 * * *"\nbudget_gb = 2\nmax_age = "9d"\n'
    assert load(GOOD + table).verify.budget_bytes == 2 * 10**9
    off = load(GOOD + '\n[verify]\ncron = "never"\n').verify
    assert (off.schedule, off.max_age) == (None, None)


def test_a_schedule_that_is_none_is_refused(load: Load) -> None:
    with pytest.raises(InvalidSettingsError, match="verify"):
        load(GOOD + '\n[verify]\ncron = "sometimes"\n')


def test_an_age_that_the_schedule_cannot_hold_is_a_problem(load: Load) -> None:
    settings = load(GOOD + '\n[verify]\nmax_age = "7d"\n')
    assert settings.verify.max_age == timedelta(days=7)
    assert [problem.message for problem in check_settings(settings) if problem.key == "verify.max_age"] == [
        "is not above 7d, the time between two verifications"
    ]

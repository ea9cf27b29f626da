"""The presets hold what they promise."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flykeep.domain.cadence import longest_gap
from flykeep.domain.policy import Policy, Schedule
from flykeep.domain.presets import CRITICAL, DEVELOPMENT, PRESETS, PRODUCTION


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe"])
def test_every_age_is_above_the_longest_gap_of_its_schedule(preset: Policy, zone: str) -> None:
    for rule in (preset.snapshot, preset.export, preset.drill):
        if rule.schedule is not None and rule.max_age is not None:
            assert longest_gap(replace(rule.schedule, timezone=zone)) < rule.max_age


def test_production_watches_automatic_snapshots_and_takes_its_own_every_day() -> None:
    assert PRODUCTION.snapshot.is_automatic_wanted
    assert PRODUCTION.snapshot.max_age == timedelta(hours=30)
    assert PRODUCTION.snapshot.schedule is not None
    assert longest_gap(PRODUCTION.snapshot.schedule) == timedelta(days=1)
    assert PRODUCTION.export.schedule is not None
    assert longest_gap(PRODUCTION.export.schedule) == timedelta(days=7)
    assert PRODUCTION.drill.schedule is not None


def test_critical_takes_a_snapshot_every_six_hours_and_keeps_two_weeks() -> None:
    assert CRITICAL.snapshot.schedule == Schedule("15 */6 * * *")
    assert CRITICAL.snapshot.max_age == timedelta(hours=8)
    assert CRITICAL.snapshot.retention_days == 14


def test_development_does_nothing_by_itself_and_never_alarms() -> None:
    assert not DEVELOPMENT.is_alarming
    assert (DEVELOPMENT.snapshot.schedule, DEVELOPMENT.export.schedule, DEVELOPMENT.drill.schedule) == (None,) * 3


def test_presets_are_found_by_their_names() -> None:
    assert {name: preset.name for name, preset in PRESETS.items()} == {name: name for name in PRESETS}
    assert set(PRESETS) == {"production", "development", "critical"}

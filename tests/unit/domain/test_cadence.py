"""Cadence: every slot fires once, whatever clocks do and however often the daemon is restarted."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from flykeep.domain.cadence import (
    CATCH_UP_HORIZON,
    MAX_OMITTED,
    MAX_SKIPPED,
    SlotPlan,
    check_cron,
    jitter,
    longest_gap,
    next_occurrence,
    occurrences,
    plan_slots,
)
from flykeep.domain.errors import ConfigError
from flykeep.domain.ids import LineageId
from flykeep.domain.policy import JobKind, Schedule
from tests.full import examples

MINUTE = timedelta(minutes=1)

# The day before a change of clocks, for zones that change by an hour, by half an hour, at midnight, and never.
CHANGES = [
    ("Europe/Vienna", datetime(2026, 3, 28, tzinfo=UTC)),
    ("Europe/Vienna", datetime(2026, 10, 24, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 10, 31, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 3, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 2, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 3, 7, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 10, 31, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 4, 4, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 9, 5, tzinfo=UTC)),
    ("UTC", datetime(2026, 3, 28, tzinfo=UTC)),
]


def fired(cron: str, zone: str, after: datetime, *, days: float = 3) -> list[datetime]:
    return list(occurrences(Schedule(cron, zone), after=after, until=after + timedelta(days=days)))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Pattern:
    """Minutes, hours and weekdays as sets, written as cron and matched without it. Sunday is 0."""

    def __init__(self, minutes: frozenset[int], hours: frozenset[int], weekdays: frozenset[int]) -> None:
        self.minutes, self.hours, self.weekdays = minutes, hours, weekdays

    def __repr__(self) -> str:
        return f"Pattern({self.cron!r})"

    @property
    def cron(self) -> str:
        fields = (self.minutes, self.hours, self.weekdays)
        minutes, hours, weekdays = (",".join(map(str, sorted(field))) for field in fields)
        return f"{minutes} {hours} * * {weekdays}"

    def matches(self, wall: datetime) -> bool:
        weekday = wall.isoweekday() % 7
        return wall.minute in self.minutes and wall.hour in self.hours and weekday in self.weekdays


ALL_HOURS = frozenset(range(24))
HOURS = st.one_of(st.just(ALL_HOURS), st.frozensets(st.sampled_from([0, 1, 2, 3, 23]), min_size=1))
PATTERNS = st.builds(
    Pattern,
    minutes=st.frozensets(st.sampled_from([0, 1, 15, 29, 30, 31, 59]), min_size=1),
    hours=HOURS,
    weekdays=st.one_of(st.just(frozenset(range(7))), st.frozensets(st.sampled_from(range(7)), min_size=1)),
)


def brute_force(pattern: Pattern, zone: ZoneInfo, *, after: datetime, until: datetime) -> Iterator[datetime]:
    """Walk every minute: fire at walls first seen, and after a jump for the walls that were jumped over."""
    instant = after - timedelta(days=1)
    previous = instant.astimezone(zone).replace(tzinfo=None)
    seen: set[datetime] = set()
    while instant < until:
        instant += MINUTE
        wall = instant.astimezone(zone).replace(tzinfo=None)
        jumped = [previous + MINUTE * n for n in range(1, max(1, int((wall - previous) / MINUTE)))]
        is_due = pattern.matches(wall)
        if pattern.hours != ALL_HOURS:
            is_due = (is_due and wall not in seen) or any(map(pattern.matches, jumped))
        seen.add(wall)
        previous = wall
        if is_due and instant > after:
            yield instant


@settings(max_examples=examples(150), deadline=None)
@given(pattern=PATTERNS, change=st.sampled_from(CHANGES))
def test_occurrences_equal_a_walk_through_every_minute(pattern: Pattern, change: tuple[str, datetime]) -> None:
    zone, after = change
    until = after + timedelta(days=3)
    expected = list(brute_force(pattern, ZoneInfo(zone), after=after, until=until))
    assert list(occurrences(Schedule(pattern.cron, zone), after=after, until=until)) == expected


@settings(max_examples=examples(100), deadline=None)
@given(
    pattern=PATTERNS,
    change=st.sampled_from(CHANGES),
    seconds=st.lists(st.integers(min_value=0, max_value=3 * 86400), max_size=6),
)
def test_restarts_at_any_instant_lose_and_double_no_occurrence(
    pattern: Pattern, change: tuple[str, datetime], seconds: list[int]
) -> None:
    zone, after = change
    until = after + timedelta(days=3)
    schedule = Schedule(pattern.cron, zone)
    cuts = [after, *sorted(after + timedelta(seconds=second) for second in seconds), until]
    pieces = [one for start, end in pairwise(cuts) for one in occurrences(schedule, after=start, until=end)]
    whole = list(occurrences(schedule, after=after, until=until))
    assert pieces == whole
    assert all(earlier < later for earlier, later in pairwise(whole))
    assert all(one.tzinfo is UTC for one in whole)


@settings(max_examples=examples(60), deadline=None)
@given(
    cron=st.sampled_from(["7 * * * *", "*/20 3-5 * * *", "0 0 1,15 * 5", "0 4 * * 7", "30 2 L * *", "15 1 * * MON#2"]),
    after=st.integers(0, 6 * 365 * 86400).map(lambda seconds: at("2024-01-01") + timedelta(seconds=seconds)),
)
def test_in_utc_cronsim_agrees(cron: str, after: datetime) -> None:
    expected = list(islice(CronSim(cron, after), 5))
    assert list(occurrences(Schedule(cron), after=after, until=expected[-1])) == expected
    assert next_occurrence(Schedule(cron), after=after) == expected[0]


@pytest.mark.parametrize("sunday", ["0", "7", "SUN", "sun"])
def test_sunday_is_sunday(sunday: str) -> None:
    days = {one.isoweekday() for one in fired(f"0 4 * * {sunday}", "UTC", at("2026-03-01"), days=60)}
    assert days == {7}


def test_half_past_two_in_the_spring_gap_fires_once_when_the_gap_ends() -> None:
    assert fired("30 2 * * *", "Europe/Vienna", at("2026-03-28")) == [
        at("2026-03-28T01:30"),
        at("2026-03-29T01:00"),
        at("2026-03-30T00:30"),
    ]


@pytest.mark.parametrize("cron", ["*/30 2 * * *", "0,30 2,3 * * *"])
def test_times_swallowed_by_the_gap_fire_together_with_its_end(cron: str) -> None:
    on_the_day = fired(cron, "Europe/Vienna", at("2026-03-28T12:00"), days=1)
    assert on_the_day[0] == at("2026-03-29T01:00")
    assert len(set(on_the_day)) == len(on_the_day)


def test_half_past_two_in_the_autumn_overlap_fires_once_the_first_time() -> None:
    assert fired("30 2 * * *", "Europe/Vienna", at("2026-10-24")) == [
        at("2026-10-24T00:30"),
        at("2026-10-25T00:30"),
        at("2026-10-26T01:30"),
    ]


@pytest.mark.parametrize("day", ["2026-03-28T20:00", "2026-10-24T20:00"])
@pytest.mark.parametrize("zone", ["Europe/Vienna", "UTC"])
def test_a_schedule_of_every_hour_keeps_its_real_interval(day: str, zone: str) -> None:
    steps = {later - earlier for earlier, later in pairwise(fired("*/30 * * * *", zone, at(day), days=1))}
    assert steps == {timedelta(minutes=30)}


def test_a_day_that_a_country_skips_fires_once_when_the_next_begins() -> None:
    # Samoa went from 29 to 31 December 2011.
    assert fired("0 2,14 * * *", "Pacific/Apia", at("2011-12-29T13:00"), days=2) == [
        at("2011-12-30T00:00"),
        at("2011-12-30T10:00"),
        at("2011-12-30T12:00"),
        at("2011-12-31T00:00"),
        at("2011-12-31T12:00"),
    ]


def test_an_occurrence_at_the_lower_bound_is_past_and_one_at_the_upper_is_due() -> None:
    assert list(occurrences(Schedule("0 * * * *"), after=at("2026-03-01T05:00"), until=at("2026-03-01T06:00"))) == [
        at("2026-03-01T06:00")
    ]


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("* * * *", "UTC"),
        ("0 * * * * *", "UTC"),
        ("61 * * * *", "UTC"),
        ("0 0 31 2 *", "UTC"),
        ("0 4 * * *", "Mars/Base"),
        ("0 4 * * *", "../etc"),
        ("0 4 * * *", ""),
    ],
)
def test_a_schedule_that_cannot_be_read_is_a_config_error(cron: str, zone: str) -> None:
    for ask in (check_cron, longest_gap):
        with pytest.raises(ConfigError):
            ask(Schedule(cron, zone))


def test_a_readable_schedule_passes_the_check() -> None:
    check_cron(Schedule("15 */6 * * *", "Europe/Vienna"))


def test_a_schedule_whose_day_never_comes_is_a_config_error() -> None:
    never = Schedule("0 0 */30 2 MON#5")  # the 1st or 31st that is also the fifth Monday of a February
    for ask in (check_cron, longest_gap):
        with pytest.raises(ConfigError, match="no time that ever comes"):
            ask(never)


@pytest.mark.parametrize(
    ("cron", "zone", "expected"),
    [
        ("* * * * *", "Europe/Vienna", timedelta(minutes=1)),
        ("0 * * * *", "Australia/Lord_Howe", timedelta(minutes=90)),
        ("15 */6 * * *", "UTC", timedelta(hours=6)),
        ("15 */6 * * *", "Europe/Vienna", timedelta(hours=7)),
        ("30 3 * * *", "UTC", timedelta(days=1)),
        ("30 2 * * *", "Europe/Vienna", timedelta(hours=25)),
        ("0 9,17 * * 1-5", "UTC", timedelta(hours=64)),
        ("0 4 * * 0", "UTC", timedelta(days=7)),
        ("0 5 1 * *", "UTC", timedelta(days=31)),
        ("0 0 29 2 *", "UTC", timedelta(days=1461)),
    ],
)
def test_the_longest_gap_counts_weekends_months_and_changes_of_clocks(
    cron: str, zone: str, expected: timedelta
) -> None:
    assert longest_gap(Schedule(cron, zone)) == expected


@settings(max_examples=examples(25), deadline=None)
@given(pattern=PATTERNS, zone=st.sampled_from([zone for zone, _ in CHANGES]))
def test_no_gap_of_a_year_is_longer_than_the_longest(pattern: Pattern, zone: str) -> None:
    schedule = Schedule(pattern.cron, zone)
    year = list(occurrences(schedule, after=at("2026-01-01"), until=at("2027-01-01")))
    assert max(later - earlier for earlier, later in pairwise(year)) <= longest_gap(schedule)


class TestCatchUp:
    DAILY = Schedule("0 4 * * *")
    NOW = at("2026-03-10T12:00")
    LONG_AGO = at("2026-01-01")

    def plan(self, newest: datetime | None, *, watching: datetime = LONG_AGO) -> SlotPlan:
        return plan_slots(self.DAILY, newest_slot=newest, started_watching_at=watching, now=self.NOW)

    def test_nothing_is_due_while_the_newest_slot_is_on_record(self) -> None:
        assert self.plan(at("2026-03-10T04:00")) == SlotPlan()

    def test_one_missed_slot_runs(self) -> None:
        assert self.plan(at("2026-03-09T04:00")) == SlotPlan(run=at("2026-03-10T04:00"))

    def test_of_several_missed_slots_the_newest_runs_and_the_others_are_skipped(self) -> None:
        assert self.plan(at("2026-03-07T04:00")) == SlotPlan(
            run=at("2026-03-10T04:00"), skipped=(at("2026-03-08T04:00"), at("2026-03-09T04:00"))
        )

    def test_a_new_target_owes_nothing_from_before_it_was_watched(self) -> None:
        assert self.plan(None, watching=at("2026-03-10T05:00")) == SlotPlan()
        assert self.plan(None, watching=at("2026-03-10T03:00")) == SlotPlan(run=at("2026-03-10T04:00"))

    def test_a_long_absence_is_listed_in_part_and_counted(self) -> None:
        plan = self.plan(self.NOW - timedelta(days=200))
        assert (plan.run, len(plan.skipped), plan.omitted_count) == (at("2026-03-10T04:00"), MAX_SKIPPED, 99)
        assert list(plan.skipped) == sorted(plan.skipped)
        assert plan.skipped[-1] == at("2026-03-09T04:00")

    def test_slots_beyond_the_horizon_are_forgotten(self) -> None:
        plan = self.plan(at("2020-01-01"))
        assert len(plan.skipped) + plan.omitted_count + 1 == CATCH_UP_HORIZON.days

    def test_counting_stops_where_no_number_helps_any_more(self) -> None:
        plan = plan_slots(Schedule("* * * * *"), newest_slot=None, started_watching_at=self.LONG_AGO, now=self.NOW)
        assert plan.omitted_count == MAX_OMITTED

    @settings(max_examples=examples(50), deadline=None)
    @given(minutes=st.lists(st.integers(min_value=0, max_value=40 * 1440), max_size=12))
    def test_every_slot_is_run_or_skipped_exactly_once_over_any_wakes(self, minutes: list[int]) -> None:
        newest: datetime | None = None
        settled: list[datetime] = []
        watching = at("2026-03-01")
        for now in sorted(watching + timedelta(minutes=minute) for minute in [*minutes, 40 * 1440]):
            plan = plan_slots(self.DAILY, newest_slot=newest, started_watching_at=watching, now=now)
            settled += [*plan.skipped, *([plan.run] if plan.run else [])]
            newest = plan.run or newest
        assert settled == list(occurrences(self.DAILY, after=watching, until=watching + timedelta(minutes=40 * 1440)))


@given(lineage=st.text(min_size=1), kind=st.sampled_from(JobKind), minutes=st.integers(min_value=1, max_value=600))
def test_jitter_lies_within_its_window_and_never_changes(lineage: str, kind: JobKind, minutes: int) -> None:
    window = timedelta(minutes=minutes)
    first = jitter(LineageId(lineage), kind, window=window)
    assert timedelta(0) <= first < window
    assert first == jitter(LineageId(lineage), kind, window=window)


def test_jitter_spreads_lineages_and_is_nothing_without_a_window() -> None:
    window = timedelta(minutes=10)
    assert len({jitter(LineageId(f"l{n}"), JobKind.SNAPSHOT, window=window) for n in range(200)}) > 100
    assert jitter(LineageId("l"), JobKind.SNAPSHOT, window=timedelta(0)) == timedelta(0)

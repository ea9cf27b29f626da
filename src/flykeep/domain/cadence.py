"""When things are due: the occurrences of a cron schedule in its time zone, and what to do about missed ones.

The occurrences of a schedule are a fixed set of instants, so that asking from anywhere, in any pieces, gives the same
ones. A schedule that names hours fires once for every wall-clock time it names: at the first of the two where clocks go
back, and at the end of the gap where they go forward. A schedule of every hour follows real time instead.

cronsim reads the expression and matches the days. Its iterator is not used: what it yields near a change of clocks
depends on where it was started, and it drops `*/30 2 * * *` on the day whose 02:00 does not exist.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from flykeep.domain.errors import ConfigError
from flykeep.domain.ids import LineageId
from flykeep.domain.policy import JobKind, Schedule

CATCH_UP_HORIZON = timedelta(days=400)
MAX_SKIPPED = 100
MAX_OMITTED = 10_000

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_SEARCH_DAYS = 60 * 366  # longer than any pattern of leap years and weekdays takes to come round
_EXPLORED_FROM = date(2026, 1, 1)
_EXPLORED_DAYS = 5 * 366
_EXPLORED_OCCURRENCE_DAYS = 13


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """What to do about the slots that have passed: run the newest, record the others as skipped.

    `skipped` is oldest first and holds the newest `MAX_SKIPPED` of them; `omitted_count` says how many older ones
    within `CATCH_UP_HORIZON` are not listed, and stops counting at `MAX_OMITTED`.
    """

    run: datetime | None = None
    skipped: tuple[datetime, ...] = ()
    omitted_count: int = 0


def check_cron(schedule: Schedule) -> None:
    """Raises ConfigError where the expression or its zone can't be read, or names no day that ever comes."""
    next_occurrence(schedule, after=datetime.combine(_EXPLORED_FROM, time(), UTC))


def occurrences(schedule: Schedule, *, after: datetime, until: datetime) -> Iterator[datetime]:
    """UTC instants later than `after` and not later than `until`, ascending. Raises ConfigError as `check_cron`."""
    plan = _plan(schedule)
    day, last_day = after.astimezone(UTC).date(), until.astimezone(UTC).date()
    while day <= last_day:
        yield from (at for at in _instants_of_utc_day(plan, day) if after < at <= until)
        day += _DAY


def next_occurrence(schedule: Schedule, *, after: datetime) -> datetime:
    """The first instant later than `after`, in UTC. Raises ConfigError as `check_cron`."""
    horizon_at = after + _SEARCH_DAYS * _DAY
    found_at = next(occurrences(schedule, after=after, until=horizon_at), None)
    if found_at is None:
        raise _config_error(schedule, "names no time that ever comes")
    return found_at


def plan_slots(
    schedule: Schedule, *, newest_slot: datetime | None, started_watching_at: datetime, now: datetime
) -> SlotPlan:
    """What is due at `now`, where `newest_slot` is the newest slot on record, whatever became of it.

    A target that never had a slot owes none from before it was watched. Slots older than `CATCH_UP_HORIZON` are
    forgotten.
    """
    after = max(newest_slot or started_watching_at, now - CATCH_UP_HORIZON)
    missed = _newest_first(schedule, after=after, until=now)
    run_at = next(missed, None)
    skipped = tuple(islice(missed, MAX_SKIPPED))
    return SlotPlan(run=run_at, skipped=skipped[::-1], omitted_count=sum(1 for _ in islice(missed, MAX_OMITTED)))


def jitter(lineage_id: LineageId, kind: JobKind, *, window: timedelta) -> timedelta:
    """How long after its slot a run of this lineage starts: whole seconds below `window`, always the same."""
    digest = hashlib.sha256(f"{kind}:{lineage_id}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8]) * int(window.total_seconds()) >> 64)


@lru_cache(maxsize=256)
def longest_gap(schedule: Schedule) -> timedelta:
    """The longest time between two neighbouring occurrences, changes of clocks included.

    Exact over the five years from 2026 and over at least thirteen days on which the schedule fires. Raises ConfigError
    as `check_cron`.
    """
    plan = _plan(schedule)
    longest, last_at, days_fired = timedelta(0), None, 0
    for number in range(_SEARCH_DAYS):
        if number >= _EXPLORED_DAYS and days_fired >= _EXPLORED_OCCURRENCE_DAYS:
            break
        edge = _edge_of_local_day(plan, _EXPLORED_FROM + number * _DAY)
        if edge is None:
            continue
        longest = max(longest, edge.longest_within, edge.first_at - (last_at or edge.first_at))
        last_at = edge.last_at
        days_fired += 1
    if last_at is None:
        raise _config_error(schedule, "names no time that ever comes")
    return longest


@dataclass(frozen=True, slots=True)
class _Edge:
    first_at: datetime
    last_at: datetime
    longest_within: timedelta


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A schedule, read: hashed by identity so that the days worked out for it can be kept."""

    cron: CronSim
    zone: ZoneInfo
    walls: tuple[time, ...]
    follows_real_time: bool
    longest_within_a_day: timedelta  # between neighbours, on a day without a change of clocks

    def matches(self, day: date) -> bool:
        return day.month in self.cron.months and self.cron.match_day(day)


@lru_cache(maxsize=256)
def _plan(schedule: Schedule) -> _Plan:
    if len(schedule.cron.split()) != 5:
        raise _config_error(schedule, "must have five fields: minute, hour, day of month, month, day of week")
    try:
        cron = CronSim(schedule.cron, datetime(2026, 1, 1))  # noqa: DTZ001 - zones are applied here, not there
    except CronSimError as error:
        raise _config_error(schedule, f"can't be read ({str(error)[:1].lower()}{str(error)[1:]})") from error
    walls = tuple(time(hour, minute) for hour in sorted(cron.hours) for minute in sorted(cron.minutes))
    return _Plan(
        cron=cron,
        zone=_zone(schedule),
        walls=walls,
        follows_real_time=len(cron.hours) == 24,
        longest_within_a_day=_longest_step([datetime.combine(_EXPLORED_FROM, wall) for wall in walls]),
    )


def _zone(schedule: Schedule) -> ZoneInfo:
    try:
        return ZoneInfo(schedule.timezone)
    except (LookupError, ValueError, OSError) as error:
        raise ConfigError(
            f"{schedule.timezone!r} is not a time zone", hint="Write a name such as Europe/Vienna or UTC."
        ) from error


def _config_error(schedule: Schedule, problem: str) -> ConfigError:
    return ConfigError(
        f"the cron expression {schedule.cron!r} {problem}", hint='Write five fields, for example "30 3 * * *".'
    )


def _newest_first(schedule: Schedule, *, after: datetime, until: datetime) -> Iterator[datetime]:
    plan = _plan(schedule)
    day, first_day = until.astimezone(UTC).date(), after.astimezone(UTC).date()
    while day >= first_day:
        yield from (at for at in reversed(_instants_of_utc_day(plan, day)) if after < at <= until)
        day -= _DAY


def _instants_of_utc_day(plan: _Plan, day: date) -> tuple[datetime, ...]:
    # Zones are at most 14 h away, so the wall times of this day's instants have the date before, this or the next.
    found = {
        at for offset in (-1, 0, 1) for at in _instants_of_local_day(plan, day + offset * _DAY) if at.date() == day
    }
    return tuple(sorted(found))


@lru_cache(maxsize=2048)
def _instants_of_local_day(plan: _Plan, day: date) -> frozenset[datetime]:
    if not plan.matches(day):
        return frozenset()
    walls = (datetime.combine(day, wall) for wall in plan.walls)
    if plan.follows_real_time:
        return frozenset(at for wall in walls for at in _real_instants(wall, plan.zone))
    return frozenset(_one_instant(wall, plan.zone) for wall in walls)


def _real_instants(wall: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Each instant at which clocks of the zone show `wall`: none in a gap, two in an overlap."""
    for fold in (0, 1):
        at = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if at.astimezone(zone).replace(tzinfo=None) == wall:
            yield at


def _one_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    first_at = next(_real_instants(wall, zone), None)
    if first_at is not None:
        return first_at
    return _end_of_gap(wall, zone)


def _end_of_gap(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant clocks jump over `wall`: read with the offset after it, it lies before the jump, and the reverse."""
    before_at = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after_at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    new_offset = after_at.astimezone(zone).utcoffset()
    while after_at - before_at > _SECOND:
        middle_at = before_at + (after_at - before_at) // 2
        middle_at = middle_at.replace(microsecond=0)
        if middle_at.astimezone(zone).utcoffset() == new_offset:
            after_at = middle_at
        else:
            before_at = middle_at
    return after_at


def _edge_of_local_day(plan: _Plan, day: date) -> _Edge | None:
    """Where the day's occurrences begin and end; worked out one by one only where clocks change that day."""
    if not plan.matches(day):
        return None
    midnight_at, next_midnight_at = (datetime.combine(at, time(), plan.zone) for at in (day, day + _DAY))
    if midnight_at.utcoffset() == next_midnight_at.utcoffset():
        first, last = (datetime.combine(day, wall, plan.zone) for wall in (plan.walls[0], plan.walls[-1]))
        return _Edge(first.astimezone(UTC), last.astimezone(UTC), plan.longest_within_a_day)
    instants = sorted(_instants_of_local_day(plan, day))
    return _Edge(instants[0], instants[-1], _longest_step(instants)) if instants else None


def _longest_step(instants: Sequence[datetime]) -> timedelta:
    return max((later - earlier for earlier, later in pairwise(instants)), default=timedelta(0))

"""A person names a backup by id, as the newest, or by a time, and gets that or a refusal that names what is near."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.candidates import Candidate, CandidateKind, CandidateProof
from flykeep.domain.choosing import choose, read_time
from flykeep.domain.errors import NoCandidateError, NotFoundError, UsageError
from flykeep.domain.ids import ProofId, VolumeId
from tests.unit.domain.builders import DAY, HOUR, NOW

OWN = CandidateProof(ProofId("p"), NOW, HOUR, is_own=True, has_later_failure=False)


def candidate(id: str, age: timedelta, *, kind: str = "snapshot", **changes: object) -> Candidate:  # noqa: A002
    made = Candidate(CandidateKind(kind), id, NOW - age, NOW - age, VolumeId("vol_1"), ("vol_1",), 1, 1)
    return replace(made, **changes)  # type: ignore[arg-type]


NEW, MIDDLE, OLD = candidate("vs_new", HOUR), candidate("vs_mid", 5 * HOUR), candidate("vs_old", 2 * DAY)
ALL = (NEW, MIDDLE, OLD)


def test_latest_is_the_newest_that_nothing_is_known_against() -> None:
    broken = candidate("vs_bad", timedelta(minutes=1), why_not="gone")
    doubted = candidate("vs_torn", timedelta(minutes=2), doubt="its drill failed")
    choice = choose((broken, doubted, *ALL), "latest", now=NOW)
    assert choice.id == "vs_new"
    assert choice.notes == (
        "snapshot vs_bad of 2026-03-02 11:59 UTC is newer and was passed over: gone",
        "snapshot vs_torn of 2026-03-02 11:58 UTC is newer and was passed over: its drill failed",
    )


def test_many_passed_over_ones_are_counted() -> None:
    broken = [candidate(f"vs_{n}", timedelta(minutes=n), why_not="gone") for n in range(6)]
    choice = choose((*broken, *ALL), "latest", now=NOW)
    assert choice.notes[-1] == "3 more newer ones were passed over"


def test_latest_does_not_step_back_to_a_proven_one_but_names_it() -> None:
    choice = choose((NEW, replace(OLD, proof=OWN)), "latest", now=NOW)
    assert choice.id == "vs_new"
    assert choice.notes == ("the newest that a drill restored itself is snapshot vs_old of 2026-02-28 12:00 UTC",)
    assert choose((replace(NEW, proof=OWN), replace(OLD, proof=OWN)), "latest", now=NOW).notes == ()


def test_a_time_means_the_newest_at_or_before_it() -> None:
    assert choose(ALL, "2026-03-02T07:00Z", now=NOW).id == "vs_mid"
    assert choose(ALL, "2026-03-02T06:59:59Z", now=NOW).id == "vs_old"
    assert choose(ALL, " 2h ago ", now=NOW).id == "vs_mid"
    assert "2026-03-02 07:00 UTC (2026-03-02T07:00Z)" in choose(ALL, "2026-03-02T07:00Z", now=NOW).why


def test_what_was_read_across_that_time_is_too_young_for_it() -> None:
    reading = candidate("a" * 16, 5 * HOUR, kind="artifact", until_at=NOW - 3 * HOUR)
    assert choose((reading, OLD), "4h ago", now=NOW).id == "vs_old"
    assert choose((reading, OLD), "3h ago", now=NOW).id == reading.id


def test_of_the_same_contents_the_listed_snapshot_is_taken() -> None:
    export = candidate("export", HOUR, kind="artifact")
    recorded = candidate("vs_z", HOUR, is_listed=False)
    assert choose((export, recorded, NEW), "latest", now=NOW).id == "vs_new"
    assert choose((recorded,), "latest", now=NOW).notes == (
        "vs_z is known from the catalog only; whether Fly still has it shows when its volume is made",
    )


def test_an_id_means_itself_whatever_is_doubted_of_it() -> None:
    doubted = candidate("vs_torn", HOUR, doubt="its drill failed")
    choice = choose((doubted, OLD), "vs_torn", now=NOW)
    assert (choice.id, choice.why, choice.notes) == ("vs_torn", "named by its id", ("its drill failed",))


def test_an_id_that_cannot_be_restored_is_refused_with_its_neighbours() -> None:
    with pytest.raises(NoCandidateError, match="vs_mid cannot be restored: gone") as caught:
        choose((NEW, replace(MIDDLE, why_not="gone"), OLD), "vs_mid", now=NOW)
    assert caught.value.next_step == (
        "Nearest: vs_old (snapshot of 2026-02-28 12:00 UTC, 43 h before); "
        "vs_new (snapshot of 2026-03-02 11:00 UTC, 4 h after)."
    )


def test_a_time_before_everything_is_refused_with_the_first_after_it() -> None:
    with pytest.raises(NoCandidateError, match="as of 2026-02-01") as caught:
        choose(ALL, "2026-02-01T00:00", now=NOW)
    assert "vs_old" in caught.value.next_step
    with pytest.raises(NoCandidateError) as caught:
        choose((), "latest", now=NOW)
    assert caught.value.next_step == "Nothing else can be restored: see `flykeep status`."


def test_where_only_doubted_ones_are_left_they_are_named_and_not_taken() -> None:
    doubted = candidate("vs_torn", HOUR, doubt="its drill failed")
    with pytest.raises(NoCandidateError, match=r"vs_torn.*is doubted: its drill failed") as caught:
        choose((doubted,), "latest", now=NOW)
    assert caught.value.next_step == "Name it to use it all the same: vs_torn."


def test_a_list_that_could_not_be_read_is_said_with_the_answer_and_with_a_refusal() -> None:
    note = "the snapshots of vol_0 could not be read: there may be a better one"
    assert choose(ALL, "latest", now=NOW, unread=["vol_0"]).notes == (note,)
    with pytest.raises(NoCandidateError, match=note):
        choose((), "latest", now=NOW, unread=["vol_0"])


def test_one_kind_is_chosen_where_it_is_asked_for() -> None:
    export = candidate("20260301T040000Z", 3 * HOUR, kind="artifact")
    assert choose((*ALL, export), "latest", now=NOW, kind=CandidateKind.ARTIFACT).id == export.id
    with pytest.raises(UsageError, match="of another kind: artifact") as caught:
        choose((*ALL, export), export.id, now=NOW, kind=CandidateKind.SNAPSHOT)
    assert caught.value.next_step == f"Write --artifact {export.id}."


def test_an_unknown_id_is_refused_with_what_looks_like_it() -> None:
    with pytest.raises(NotFoundError) as caught:
        choose(ALL, "vs_mit", now=NOW)
    assert caught.value.next_step.startswith("Did you mean vs_mid")
    with pytest.raises(NotFoundError) as caught:
        choose(ALL, "vs_8d1xqWqv7zQ", now=NOW)
    assert caught.value.next_step == "`flykeep restore TARGET` lists what there is."


@pytest.mark.parametrize("text", ["yesterday", "2h", "ago", "", "--yes", "2026-13-01T04:00", "2026-03-01T24:61"])
def test_what_is_neither_an_id_nor_a_time_is_a_usage_error_that_shows_the_forms(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(ALL, text, now=NOW)
    assert "2h ago" in caught.value.next_step


def test_a_day_without_its_hour_is_not_guessed_at() -> None:
    with pytest.raises(UsageError, match="whole day") as caught:
        choose(ALL, "2026-03-01", now=NOW)
    assert caught.value.next_step == "Add the hour: 2026-03-01T23:59."


def test_a_time_that_lies_ahead_is_refused() -> None:
    with pytest.raises(UsageError, match="lies ahead"):
        choose(ALL, "2027-03-01T04:00", now=NOW)
    with pytest.raises(UsageError, match="too long ago"):
        choose(ALL, "99999999999999999999w ago", now=NOW)


@pytest.mark.parametrize(
    ("text", "zone", "at"),
    [
        ("2026-03-01T04:00", "UTC", datetime(2026, 3, 1, 4, tzinfo=UTC)),
        ("2026-03-01 04:00", "Europe/Vienna", datetime(2026, 3, 1, 3, tzinfo=UTC)),
        ("2026-03-01T04:00+05:30", "Europe/Vienna", datetime(2026, 2, 28, 22, 30, tzinfo=UTC)),
        ("2025-10-26T02:30", "Europe/Vienna", datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),  # shown twice: the earlier
        ("1d 2h 5m ago", "UTC", NOW - timedelta(days=1, hours=2, minutes=5)),
        ("1w ago", "UTC", NOW - 7 * DAY),
        ("90min ago", "UTC", NOW - timedelta(minutes=90)),
    ],
)
def test_times_are_read_in_their_zone(text: str, zone: str, at: datetime) -> None:
    assert read_time(text, now=NOW, timezone=zone) == at


def test_an_hour_that_the_clock_left_out_is_refused() -> None:
    with pytest.raises(UsageError, match="never showed"):
        read_time("2025-03-30T02:30", now=NOW, timezone="Europe/Vienna")


MINUTES = st.integers(0, 100_000)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Candidate, ...]:
    made = []
    for number in range(draw(st.integers(0, 8))):
        age = timedelta(minutes=draw(MINUTES))
        lasted = timedelta(minutes=draw(st.integers(0, 600)))
        one = candidate(f"id{number}", age, kind=draw(st.sampled_from(["snapshot", "artifact"])))
        made.append(
            replace(
                one,
                until_at=one.as_of_at + lasted,
                doubt=draw(st.sampled_from([None, None, "doubted"])),
                why_not=draw(st.sampled_from([None, None, "gone"])),
                is_listed=draw(st.booleans()),
                proof=draw(st.sampled_from([None, OWN])),
            )
        )
    return tuple(made)


@given(histories(), MINUTES, st.sampled_from([None, *CandidateKind]), st.randoms(use_true_random=False))
def test_a_time_never_brings_back_anything_younger_and_never_less_than_there_is(
    history: tuple[Candidate, ...], minutes: int, kind: CandidateKind | None, random: object
) -> None:
    at = NOW - timedelta(minutes=minutes)
    usable = [one for one in history if one.is_safe_choice and one.until_at <= at and kind in {None, one.kind}]
    shuffled = list(history)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    try:
        found = choose(shuffled, f"{minutes}m ago", now=NOW, kind=kind)
    except NoCandidateError:
        assert not usable
        return
    assert found.candidate in usable
    assert all(one.as_of_at <= found.candidate.as_of_at for one in usable)
    assert found.id == choose(history, f"{minutes}m ago", now=NOW, kind=kind).id  # whatever order they come in


@given(histories(), MINUTES, MINUTES)
def test_an_earlier_time_never_means_younger_contents(history: tuple[Candidate, ...], one: int, other: int) -> None:
    def instant_of(minutes: int) -> datetime:
        try:
            return choose(history, f"{minutes}m ago", now=NOW).candidate.as_of_at
        except NoCandidateError:
            return datetime.min.replace(tzinfo=UTC)

    assert instant_of(max(one, other)) <= instant_of(min(one, other))


@given(st.integers(0, 3_000_000), st.sampled_from(["Europe/Vienna", "America/New_York"]))
def test_every_time_a_clock_shows_is_read_as_that_instant_or_an_hour_before(minutes: int, zone: str) -> None:
    at = NOW - timedelta(minutes=minutes)
    shown = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert at - (read_time(shown.isoformat(), now=NOW, timezone=zone) or NOW) in {timedelta(0), HOUR}

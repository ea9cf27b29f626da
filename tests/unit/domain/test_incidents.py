"""People are told once, reminded at an interval, and told once that it is over."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flykeep.domain.findings import Finding, FindingCode, Incident, Severity
from flykeep.domain.ids import IncidentId
from flykeep.domain.incidents import ChangeKind, IncidentChange, transition
from flykeep.domain.subjects import lineage_subject
from tests.full import examples
from tests.unit.domain.builders import DAY, HOUR, NOW, counted_ids, finding, lineage

EVERY = 24 * HOUR
STALE = finding()


def step(
    incidents: tuple[Incident, ...],
    *findings: Finding,
    now: datetime = NOW,
    is_conclusive: bool = True,
    every: timedelta | None = EVERY,
) -> tuple[IncidentChange, ...]:
    return transition(
        incidents,
        findings,
        is_conclusive=lambda _: is_conclusive,
        now=now,
        remind_every=lambda _: every,
        new_id=counted_ids("inc_"),
    )


def opened(found: Finding = STALE) -> Incident:
    (change,) = step((), found)
    assert change.kind is ChangeKind.OPENED
    return change.incident


def test_a_finding_opens_one_incident() -> None:
    (change,) = step((), STALE)
    assert change == IncidentChange(ChangeKind.OPENED, Incident(IncidentId("inc_1"), STALE, NOW, NOW))
    assert change.is_told


def test_the_same_finding_again_changes_nothing() -> None:
    assert step((opened(),), STALE, now=NOW + HOUR) == ()


def test_findings_of_one_key_open_one_incident_of_the_worst() -> None:
    mild = replace(STALE, severity=Severity.WARNING)
    for order in ((mild, STALE), (STALE, mild)):
        (change,) = step((), *order)
        assert change.incident.finding.severity is Severity.CRITICAL


def test_information_opens_nothing_and_lets_an_incident_resolve() -> None:
    quiet = replace(STALE, severity=Severity.INFO)
    assert step((), quiet) == ()
    (change,) = step((opened(),), quiet)
    assert change.kind is ChangeKind.RESOLVED


def test_a_changed_summary_is_kept_without_telling_anybody() -> None:
    (change,) = step((opened(),), replace(STALE, summary="41 h old"), now=NOW + HOUR)
    assert (change.kind, change.is_told, change.incident.finding.summary) == (ChangeKind.UPDATED, False, "41 h old")
    assert change.incident.last_notified_at == NOW


def test_a_fact_dated_by_its_check_keeps_its_first_date() -> None:
    assert step((opened(),), replace(STALE, since_at=NOW + HOUR), now=NOW + HOUR) == ()


def test_a_reminder_comes_when_its_interval_has_passed_and_not_before() -> None:
    assert step((opened(),), STALE, now=NOW + EVERY - timedelta(seconds=1)) == ()
    (change,) = step((opened(),), STALE, now=NOW + EVERY)
    assert (change.kind, change.incident.reminder_count, change.incident.last_notified_at) == (
        ChangeKind.REMINDED,
        1,
        NOW + EVERY,
    )
    assert not change.is_escalated


def test_no_interval_means_no_reminder() -> None:
    assert step((opened(),), STALE, now=NOW + 90 * DAY, every=None) == ()


def test_nobody_is_reminded_of_what_was_acknowledged() -> None:
    assert step((replace(opened(), acknowledged_at=NOW),), STALE, now=NOW + 90 * DAY) == ()


def test_nobody_is_reminded_while_muted() -> None:
    muted = replace(opened(), muted_until=NOW + 2 * DAY)
    assert step((muted,), STALE, now=NOW + 2 * DAY - HOUR) == ()
    assert [change.kind for change in step((muted,), STALE, now=NOW + 2 * DAY)] == [ChangeKind.REMINDED]


def test_what_becomes_worse_is_told_at_once_even_where_it_was_acknowledged() -> None:
    mild = replace(opened(replace(STALE, severity=Severity.WARNING)), acknowledged_at=NOW)
    (change,) = step((mild,), STALE, now=NOW + HOUR, every=None)
    assert (change.kind, change.is_escalated, change.incident.reminder_count) == (ChangeKind.REMINDED, True, 1)
    muted = replace(mild, muted_until=NOW + DAY)
    assert [change.kind for change in step((muted,), STALE, now=NOW + HOUR)] == [ChangeKind.UPDATED]


def test_what_becomes_milder_is_only_kept() -> None:
    (change,) = step((opened(),), replace(STALE, severity=Severity.WARNING), now=NOW + HOUR)
    assert (change.kind, change.incident.finding.severity) == (ChangeKind.UPDATED, Severity.WARNING)


def test_an_absent_finding_resolves_its_incident_once() -> None:
    (change,) = step((opened(),), now=NOW + HOUR)
    assert (change.kind, change.incident.resolved_at, change.incident.is_open) == (
        ChangeKind.RESOLVED,
        NOW + HOUR,
        False,
    )
    assert step((change.incident,), now=NOW + HOUR) == ()


def test_what_was_not_judged_stands_in_silence() -> None:
    assert step((opened(),), now=NOW + 90 * DAY, is_conclusive=False) == ()


def test_a_resolved_finding_that_returns_opens_a_new_incident() -> None:
    (resolved,) = step((opened(),))
    assert [change.kind for change in step((resolved.incident,), STALE)] == [ChangeKind.OPENED]


KEYS = [
    (code, lineage_subject(lineage(name), name))
    for name in ("a", "b")
    for code in (FindingCode.SNAPSHOT_STALE, FindingCode.VOLUME_HOST)
]
FOUND = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(Severity)).map(
        lambda pair: finding(pair[0][0], subject=pair[0][1], severity=pair[1])
    ),
    max_size=5,
)


class Telling(RuleBasedStateMachine):
    """Any sequence of checks, acknowledgements and mutes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.incidents: dict[IncidentId, Incident] = {}
        self.told: dict[str, list[tuple[ChangeKind, datetime, bool]]] = {}
        self.ids = counted_ids("inc_")

    def open(self) -> list[Incident]:
        return [incident for incident in self.incidents.values() if incident.is_open]

    @rule(
        found=FOUND, minutes=st.integers(0, 3000), standing=st.frozensets(st.sampled_from([key[1].key for key in KEYS]))
    )
    def check(self, found: list[Finding], minutes: int, standing: frozenset[str]) -> None:
        self.now += timedelta(minutes=minutes)
        before = self.open()
        changes = transition(
            before,
            found,
            is_conclusive=lambda one: one.subject.key not in standing,
            now=self.now,
            remind_every=lambda _: EVERY,
            new_id=self.ids,
        )
        for change in changes:
            self.incidents[change.incident.id] = change.incident
            if change.is_told:
                key = change.incident.finding.key
                self.told.setdefault(key, []).append((change.kind, self.now, change.is_escalated))
        bad = {one.key for one in found if one.severity.is_unhealthy}
        still_open = {incident.finding.key for incident in self.open()}
        kept = {one.finding.key for one in before if one.finding.subject.key in standing}
        assert still_open == bad | (kept - bad)

    @rule(hours=st.integers(1, 72))
    def mute_everything(self, hours: int) -> None:
        for incident in self.open():
            self.incidents[incident.id] = replace(incident, muted_until=self.now + hours * HOUR)

    @rule()
    def acknowledge_everything(self) -> None:
        for incident in self.open():
            self.incidents[incident.id] = replace(incident, acknowledged_at=self.now)

    @invariant()
    def no_key_has_two_open_incidents(self) -> None:
        keys = [incident.finding.key for incident in self.open()]
        assert len(set(keys)) == len(keys)

    @invariant()
    def opened_and_resolved_alternate(self) -> None:
        for told in self.told.values():
            edges = [kind for kind, _, _ in told if kind is not ChangeKind.REMINDED]
            expected = [ChangeKind.OPENED, ChangeKind.RESOLVED] * len(edges)
            assert edges == expected[: len(edges)]

    @invariant()
    def reminders_keep_their_interval(self) -> None:
        for told in self.told.values():
            for (_, earlier_at, _), (kind, at, is_escalated) in pairwise(told):
                assert kind is not ChangeKind.REMINDED or is_escalated or at - earlier_at >= EVERY


TestTelling = Telling.TestCase
TestTelling.settings = settings(max_examples=examples(60), stateful_step_count=25, deadline=None)

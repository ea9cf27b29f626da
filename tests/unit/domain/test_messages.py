"""The words people get, compared with texts on file; FLYKEEP_RENEW_GOLDEN=1 writes them anew."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.domain import messages
from flykeep.domain.findings import Compliance, FindingCode, Incident, Message, MessageKind, Severity, Verdict
from flykeep.domain.ids import IncidentId, LineageId
from flykeep.domain.incidents import ChangeKind, IncidentChange
from flykeep.domain.messages import HEADLINES, checked_message, message_for
from flykeep.domain.subjects import org_subject, volume_subject
from flykeep.domain.wording import span
from tests.unit.domain.builders import DAY, HOUR, NOW, finding, volume

GOLDEN = Path(__file__).parents[2] / "data" / "golden"

STALE = Incident(IncidentId("inc_1"), finding(), opened_at=NOW, last_notified_at=NOW)
MISSING = finding(
    FindingCode.SNAPSHOT_MISSING, summary="The volume has no snapshot that can be restored.", last_good_at=None
)
REMINDED = replace(STALE, reminder_count=2)
NEVER = replace(STALE, finding=MISSING)
UNPROTECTED = replace(
    STALE,
    finding=finding(
        FindingCode.VOLUME_UNPROTECTED,
        severity=Severity.WARNING,
        subject=volume_subject(volume("vol_9")),
        summary="Volume vol_9 (3 GB, fra) matches no target: nobody protects it.",
        last_good_at=None,
        next_step='add [[targets]] with match = "my-crocbot/crocbot_data" to the configuration',
    ),
)
OUTAGE = replace(
    STALE,
    finding=finding(
        FindingCode.FLY_UNREACHABLE,
        severity=Severity.WARNING,
        subject=org_subject("personal"),
        summary="Fly's API can't be read; it last answered at 2026-03-02 02:00 UTC.",
        next_step="flykeep doctor; see https://status.flyio.net",
    ),
)

CHANGES = {
    "opened": IncidentChange(ChangeKind.OPENED, STALE),
    "opened_without_backup": IncidentChange(ChangeKind.OPENED, NEVER),
    "opened_unprotected": IncidentChange(ChangeKind.OPENED, UNPROTECTED),
    "opened_outage": IncidentChange(ChangeKind.OPENED, OUTAGE),
    "reminded": IncidentChange(ChangeKind.REMINDED, REMINDED),
    "escalated": IncidentChange(ChangeKind.REMINDED, replace(STALE, reminder_count=1), is_escalated=True),
    "resolved": IncidentChange(ChangeKind.RESOLVED, replace(REMINDED, resolved_at=NOW + DAY)),
    "resolved_outage": IncidentChange(ChangeKind.RESOLVED, replace(OUTAGE, resolved_at=NOW + DAY)),
}


def compare(name: str, message: Message) -> None:
    text = f"{message.title}\n\n{message.body}\n"
    path = GOLDEN / f"message_{name}.txt"
    if os.environ.get("FLYKEEP_RENEW_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CHANGES)
def test_a_message_reads_as_on_file(name: str) -> None:
    change = CHANGES[name]
    now = NOW + DAY if change.kind is ChangeKind.RESOLVED else NOW
    compare(name, message_for(change, now=now))


@pytest.mark.parametrize("name", ["opened", "opened_without_backup", "reminded", "escalated"])
def test_a_message_about_a_target_says_all_that_is_needed_to_act(name: str) -> None:
    message = message_for(CHANGES[name], now=NOW)
    found = CHANGES[name].incident.finding
    for part in (found.summary, "my-crocbot", "vol_1", "Since: 2026-03-02 02:00 UTC", "Last good", found.next_step):
        assert part in message.body


def test_a_message_carries_its_facts_as_fields() -> None:
    message = message_for(CHANGES["opened"], now=NOW)
    found = STALE.finding
    assert (message.kind, message.severity, message.code) == (MessageKind.OPENED, Severity.CRITICAL, found.code)
    assert (message.app, message.volume_id, message.incident_id) == ("my-crocbot", "vol_1", "inc_1")
    assert (message.since_at, message.last_good_at, message.next_step) == (
        found.since_at,
        found.last_good_at,
        found.next_step,
    )
    assert (message.created_at, message.is_healthy) == (NOW, False)


def test_every_finding_has_a_headline() -> None:
    assert set(HEADLINES) == set(FindingCode)


def test_a_resolved_message_is_information() -> None:
    message = message_for(CHANGES["resolved"], now=NOW + DAY)
    assert (message.severity, message.is_healthy, message.next_step) == (Severity.INFO, True, "")


def test_the_same_change_makes_the_same_id_and_every_other_change_another() -> None:
    assert message_for(CHANGES["opened"], now=NOW).id == message_for(CHANGES["opened"], now=NOW + DAY).id
    again = IncidentChange(ChangeKind.REMINDED, replace(STALE, reminder_count=3))
    changes = (CHANGES["opened"], CHANGES["reminded"], again, CHANGES["resolved"])
    assert len({message_for(change, now=NOW).id for change in changes}) == 4


def test_a_change_nobody_is_told_of_has_no_message() -> None:
    with pytest.raises(KeyError):
        message_for(IncidentChange(ChangeKind.UPDATED, STALE), now=NOW)


def compliance(verdict: Verdict) -> Compliance:
    return Compliance(LineageId("lin_1"), "my-crocbot/crocbot_data", verdict, (), NOW)


def test_a_finished_check_with_a_critical_incident_is_unhealthy() -> None:
    evaluated = [compliance(Verdict.HEALTHY), compliance(Verdict.HEALTHY), compliance(Verdict.UNHEALTHY)]
    message = checked_message(evaluated, [STALE, OUTAGE], check_id="run_1", org="organization personal", now=NOW)
    assert (message.id, message.is_healthy, message.severity) == ("run_1:checked", False, Severity.CRITICAL)
    assert message.subject == "organization personal"
    compare("checked_critical", message)


def test_a_finished_check_with_warnings_alone_is_healthy() -> None:
    message = checked_message([], [OUTAGE], check_id="run_1", org="organization personal", now=NOW)
    assert (message.is_healthy, message.severity) == (True, Severity.INFO)
    compare("checked", message)


def test_a_test_message_says_that_nothing_is_wrong() -> None:
    message = messages.test_message("oncall", message_id="abc", now=NOW)
    assert (message.id, message.kind, message.severity) == ("abc:test", MessageKind.TEST, Severity.INFO)
    compare("test", message)


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(minutes=12, seconds=40), "12 min"),
        (6 * HOUR + timedelta(minutes=15), "6 h 15 min"),
        (40 * HOUR, "40 h"),
        (2 * DAY, "2 d"),
        (3 * DAY + 4 * HOUR, "3 d 4 h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(duration: timedelta, words: str) -> None:
    assert span(duration) == words

"""People are told where retention does not run, and what it holds back."""

import json
from dataclasses import replace
from typing import Any

from flykeep.domain.compliance_retention import RetentionFacts, retention_findings
from flykeep.domain.findings import Finding, FindingCode
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.policy import JobKind, Schedule
from flykeep.domain.run import Outcome, Run, RunRequest, RunState, Slot
from flykeep.domain.subjects import org_subject
from flykeep.domain.target import ORG_LINEAGE
from tests.unit.domain.builders import DAY, HOUR, NOW

DAILY = Schedule("20 2 * * *")
ORG = org_subject("personal")


def run(
    age_hours: float, *problems: str, state: RunState = RunState.SUCCEEDED, store: str = "offsite", **asked: Any
) -> Run:
    copy = {"lineage_id": "l1", "store": store, "target": "shop/data", "problems": problems}
    result = json.dumps({"copies": [copy]})
    at = NOW - age_hours * HOUR
    request = RunRequest(**asked)
    outcome = Outcome(state, result)
    return Run(RunId("r"), JobKind.PRUNE, ORG_LINEAGE, Slot("x"), state, at, at, request, ended_at=at, outcome=outcome)


def judged(*runs: Run, schedule: Schedule | None = DAILY, waiting_days: int | None = None) -> list[Finding]:
    waiting_since = None if waiting_days is None else NOW - waiting_days * DAY
    return list(retention_findings(ORG, RetentionFacts(schedule, runs, waiting_since), now=NOW))


def test_retention_that_ran_last_night_is_fine() -> None:
    assert judged(run(10)) == []


def test_retention_that_missed_two_slots_is_a_finding_since_then() -> None:
    (found,) = judged(run(50))

    assert found.code is FindingCode.RETENTION_NOT_RUN
    assert (found.since_at, found.last_good_at) == (NOW - HOUR, NOW - 50 * HOUR)
    assert found.summary == "Retention last ran 2 d 2 h ago: nothing is removed from the stores."
    assert judged(run(48)) == []


def test_retention_that_has_never_run_is_one_once_there_is_something_to_decide_about() -> None:
    assert judged() == []
    assert judged(waiting_days=2) == []
    (found,) = judged(waiting_days=3)
    assert found.summary == "Retention has never run: nothing is removed from the stores."


def test_a_failed_run_and_a_run_for_one_target_are_no_retention() -> None:
    failed, one_target = run(1, state=RunState.FAILED), run(1, lineage_id=LineageId("l1"))

    assert [finding.code for finding in judged(failed, one_target, run(60))] == [FindingCode.RETENTION_NOT_RUN]


def test_a_refusal_did_run_and_is_told_as_what_it_is() -> None:
    (found,) = judged(run(10, "6 of 7 would go", state=RunState.REFUSED))

    assert found.code is FindingCode.RETENTION_REFUSED
    assert found.summary == "Retention holds back: shop/data in offsite (6 of 7 would go)."
    assert found.since_at == NOW - 10 * HOUR


def test_what_a_person_has_put_right_since_is_not_told_any_more() -> None:
    by_hand, before = run(1, lineage_id=LineageId("l1")), run(10, "6 of 7 would go", state=RunState.REFUSED)

    assert judged(by_hand, before) == []
    assert len(judged(run(1, store="shelf"), before)) == 1


def test_what_the_run_itself_found_locked_or_in_use_is_told_at_once() -> None:
    found_out = run(1, state=RunState.DEGRADED)
    assert found_out.outcome
    result = json.loads(found_out.outcome.result_json)
    result["copies"][0] |= {"locked": ["01A"], "held": ["01B: pinned: evidence"]}

    (found,) = judged(replace(found_out, outcome=Outcome(RunState.DEGRADED, json.dumps(result))))

    assert found.summary == (
        "Retention holds back: shop/data in offsite (01A: locked by the store; 01B: pinned: evidence)."
    )


def test_many_copies_are_told_in_one_sentence() -> None:
    runs = [run(1, "odd", store=f"store{number}") for number in range(5)]

    (found,) = judged(*runs)

    assert found.summary.endswith("store2 (odd), and 2 more.")


def test_without_a_schedule_people_run_it_when_they_like() -> None:
    assert judged(schedule=None, waiting_days=400) == []

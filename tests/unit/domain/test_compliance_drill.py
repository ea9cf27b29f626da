"""What is said of rehearsed restores: only a proof counts, and who cannot rehearse is told so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flykeep.domain.compliance import LineageFacts, evaluate
from flykeep.domain.compliance_org import OrgFacts, evaluate_org, with_proof_flaws
from flykeep.domain.errors import DrillFailedError
from flykeep.domain.findings import Finding, FindingCode, Severity, Verdict
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.policy import DrillRule, JobKind, Policy, Schedule, TargetRule
from flykeep.domain.proof import ProofFlaw, RecordedProof
from flykeep.domain.run import Failure, Outcome, Run, RunState, Slot
from flykeep.testing.contracts.catalog_samples import a_proof
from tests.unit.domain.builders import DAY, HOUR, NOW, inventory, lineage, machine, snapshot, volume

WANTED = DrillRule(Schedule("0 5 1 * *"), max_age=35 * DAY, is_asked=True)


def proven(age: timedelta, *, reason: str | None = None, id: str = "p") -> RecordedProof:  # noqa: A002
    return a_proof(id, ended_at=NOW - age, reason=reason)


def judged(rule: DrillRule = WANTED, **facts: Any) -> list[Finding]:
    known = LineageFacts(lineage(), "my-crocbot/crocbot_data", volume(), machine(), (snapshot(),))
    policy = TargetRule("*/*", Policy("critical", drill=rule))
    findings = evaluate(replace(known, **facts), policy, now=NOW).findings
    return [finding for finding in findings if finding.code.startswith(("drill.", "run."))]


def codes(rule: DrillRule = WANTED, **facts: Any) -> list[FindingCode]:
    return [finding.code for finding in judged(rule, **facts)]


def run(state: RunState, *, age: timedelta = HOUR, code: str | None = None, kind: JobKind = JobKind.DRILL) -> Run:
    failure = Failure(code, "no room", "", 5) if code else None
    outcome = Outcome(state, failure=failure)
    at = NOW - age
    return Run(RunId("r"), kind, LineageId("lin_1"), Slot("x"), state, at, at, ended_at=at, outcome=outcome)


def both(proof: RecordedProof) -> dict[str, RecordedProof]:
    return {"newest_proof": proof, "newest_passed_proof": proof}


def test_a_fresh_proof_is_all_that_is_wanted() -> None:
    assert judged(**both(proven(34 * DAY))) == []


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (both(proven(36 * DAY)), FindingCode.DRILL_STALE),
        ({"lineage": lineage(first_seen_at=NOW - 36 * DAY)}, FindingCode.DRILL_MISSING),
    ],
)
def test_a_proof_that_is_too_old_or_was_never_made_is_told(facts: dict[str, Any], code: FindingCode) -> None:
    [finding] = judged(**facts)
    assert (finding.code, finding.severity) == (code, Severity.WARNING)
    assert finding.since_at == NOW - DAY
    assert finding.next_step == "flykeep drill my-crocbot/crocbot_data"


def test_a_new_volume_has_time_for_its_first_drill() -> None:
    assert judged(lineage=lineage(first_seen_at=NOW - 34 * DAY)) == []


def test_ages_are_judged_only_where_one_is_wanted() -> None:
    assert judged(DrillRule(), lineage=lineage(first_seen_at=NOW - 999 * DAY)) == []


def test_a_failed_proof_is_critical_with_its_reason_however_fresh_an_older_one_is() -> None:
    bad = proven(HOUR, reason="json crocbot.json: no such file", id="bad")
    [finding] = judged(newest_proof=bad, newest_passed_proof=proven(2 * DAY))
    assert (finding.code, finding.severity) == (FindingCode.DRILL_FAILED, Severity.CRITICAL)
    assert "json crocbot.json: no such file" in finding.summary
    assert finding.last_good_at == NOW - 2 * DAY


def test_a_failed_proof_of_an_artifact_names_it() -> None:
    bad = proven(HOUR, reason="spoiled")
    source = replace(bad.proof.source, kind="artifact", snapshot_id=None, export_id="01EXPORT")
    [finding] = judged(newest_proof=replace(bad, proof=replace(bad.proof, source=source)), newest_passed_proof=None)
    assert "artifact 01EXPORT" in finding.summary


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.REFUSED, RunState.INTERRUPTED])
@pytest.mark.parametrize("code", ["fly.capacity", None])
def test_a_drill_that_could_not_run_is_told_and_is_no_failed_run_besides(state: RunState, code: str | None) -> None:
    [finding] = judged(**both(proven(2 * DAY)), last_runs=(run(state, code=code),))
    assert finding.code is FindingCode.DRILL_NOT_RUN
    assert ("no room" if code else f"it was {state}") in finding.summary


@pytest.mark.parametrize(
    "last",
    [
        run(RunState.SUCCEEDED),
        run(RunState.FAILED, code=DrillFailedError.code),  # its proof tells
        run(RunState.FAILED, age=3 * DAY, code="fly.capacity"),  # somebody proved it since
    ],
)
def test_an_attempt_that_gave_a_proof_or_was_followed_by_one_is_not_told(last: Run) -> None:
    assert judged(**both(proven(2 * DAY)), last_runs=(last,)) == []


def test_an_attempt_without_an_outcome_is_told_too() -> None:
    assert codes(last_runs=(replace(run(RunState.INTERRUPTED), outcome=None, ended_at=None),)) == ["drill.not_run"]


def test_other_runs_fail_as_ever() -> None:
    assert codes(**both(proven(DAY)), last_runs=(run(RunState.FAILED, kind=JobKind.EXPORT),)) == ["run.failed"]


@pytest.mark.parametrize(("is_asked", "severity"), [(True, Severity.WARNING), (False, Severity.INFO)])
def test_who_cannot_rehearse_is_told_as_loud_as_it_was_asked_for(severity: Severity, *, is_asked: bool) -> None:
    [finding] = judged(replace(WANTED, is_asked=is_asked), drill_obstacle="no image")
    assert (finding.code, finding.severity) == (FindingCode.DRILL_IMPOSSIBLE, severity)
    assert "no image" in finding.summary


def test_a_proof_from_elsewhere_is_enough_until_it_is_too_old() -> None:
    assert judged(drill_obstacle="no image", **both(proven(DAY))) == []
    [finding] = judged(drill_obstacle="no image", **both(proven(36 * DAY)))
    assert finding.code is FindingCode.DRILL_IMPOSSIBLE
    assert finding.since_at == NOW - DAY
    assert judged(DrillRule(), drill_obstacle="no image") == []
    assert judged(replace(WANTED, max_age=None), drill_obstacle="no image", **both(proven(99 * DAY))) == []


def test_the_verdict_says_what_a_backup_is_worth() -> None:
    known = LineageFacts(lineage(), "x", volume(), machine(), (snapshot(),))
    rule = TargetRule("*/*", Policy("critical", drill=WANTED))
    good = evaluate(replace(known, **both(proven(3 * DAY))), rule, now=NOW)
    assert good.verdict is Verdict.HEALTHY
    assert good.proof is not None
    assert (good.proof.at, good.proof.took_s, good.proof.is_newest) == (NOW - 3 * DAY, 1.2, True)
    bad = replace(known, newest_proof=proven(HOUR, reason="empty"), newest_passed_proof=proven(3 * DAY))
    found = evaluate(bad, rule, now=NOW)
    assert found.verdict is Verdict.UNHEALTHY
    assert found.proof is not None
    assert not found.proof.is_newest
    assert evaluate(known, rule, now=NOW).proof is None


def test_an_instance_that_is_not_the_primary_one_needs_no_drill() -> None:
    known = LineageFacts(lineage(first_seen_at=NOW - 99 * DAY), "x", volume(), machine(), (snapshot(),))
    rule = TargetRule("*/*", Policy("critical", drill=WANTED), instances="primary")
    assert [one.code for one in evaluate(known, rule, now=NOW).findings] == ["drill.missing"]
    assert evaluate(replace(known, is_primary=False), rule, now=NOW).findings == ()


@pytest.mark.parametrize(("count", "words"), [(1, "1 object among"), (5, "5 objects among")])
def test_objects_that_only_say_they_are_proofs_are_told_for_the_organization(count: int, words: str) -> None:
    org = evaluate_org(OrgFacts("personal", inventory()), now=NOW)
    assert with_proof_flaws(org, (), now=NOW) == org
    flaws = tuple(ProofFlaw("offsite", f"_proofs/{number}", "altered") for number in range(count))
    [*_, finding] = with_proof_flaws(org, flaws, now=NOW).findings
    assert finding.code is FindingCode.PROOF_REFUSED
    assert finding.summary.startswith(words)
    assert finding.summary.count("altered") == min(count, 3)

"""The page on findings names every code with the severity it is really found with."""

import re
from dataclasses import replace
from pathlib import Path

from flykeep.domain.artifact import Consistency
from flykeep.domain.compliance import LineageFacts, evaluate
from flykeep.domain.compliance_org import OrgFacts, evaluate_org, notifier_finding, with_proof_flaws
from flykeep.domain.compliance_retention import RetentionFacts
from flykeep.domain.compliance_verification import VerificationFacts
from flykeep.domain.describing import DescriptionState, with_undescribed
from flykeep.domain.findings import Finding, FindingCode
from flykeep.domain.fly import HostStatus
from flykeep.domain.ids import AppName, LineageId, RunId
from flykeep.domain.imports import ImportPhase, ImportRecord
from flykeep.domain.policy import CopyRule, JobKind, Schedule, TargetRule
from flykeep.domain.presets import PRODUCTION
from flykeep.domain.proof import ProofFlaw
from flykeep.domain.recover_findings import HalfRecovery, with_half_recoveries
from flykeep.domain.restore_phases import RestorePhase
from flykeep.domain.run import Outcome, Run, RunState, Slot
from flykeep.domain.runbook_state import StaleRunbook, with_stale_runbooks
from flykeep.domain.target import ORG_LINEAGE
from flykeep.testing.contracts.catalog_samples import a_proof
from tests.unit.domain.builders import DAY, HOUR, NOW, artifact, inventory, lineage, machine, snapshot, volume
from tests.unit.domain.restores import restored

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "findings.md"
ON_PLATFORM = TargetRule("my-crocbot/*", replace(PRODUCTION, copies=(CopyRule("offsite", is_on_platform=True),)))
LONG_AGO = NOW - 90 * DAY
RULE = TargetRule(
    "my-crocbot/*", replace(PRODUCTION, copies=(CopyRule("offsite"),), drill=replace(PRODUCTION.drill, is_asked=True))
)
SICK = volume(
    state="recovering",
    host_status=HostStatus.UNREACHABLE,
    is_automatic_snapshot_on=False,
    snapshot_retention_days=1,
    used_bytes=95,
    total_bytes=100,
)
FAILED = Run(RunId("r"), JobKind.EXPORT, LineageId("lin_1"), Slot("x"), RunState.FAILED, NOW, NOW, ended_at=NOW)
REFUSED = Run(
    RunId("p"),
    JobKind.PRUNE,
    ORG_LINEAGE,
    Slot("x"),
    RunState.REFUSED,
    NOW,
    NOW,
    ended_at=NOW - 9 * DAY,
    outcome=Outcome(
        RunState.REFUSED, '{"copies":[{"lineage_id":"l","store":"offsite","target":"a/b","problems":["too many"]}]}'
    ),
)
LIVE = artifact("live", age=HOUR, consistency=Consistency.LIVE, open_databases=("app.db-wal",))


def imported(phase: ImportPhase) -> ImportRecord:
    return ImportRecord(RunId("r"), phase, LONG_AGO, is_restarting=False)


def every_finding() -> list[Finding]:
    fine = LineageFacts(lineage(), "my-crocbot/crocbot_data", volume(), machine(), (snapshot(),))
    unfinished = (snapshot("p", age=5 * HOUR, status="running"), snapshot("x", status="odd"), snapshot(age=40 * HOUR))
    cases = (
        replace(fine, volume=SICK, snapshots=unfinished, last_runs=(FAILED,), artifacts=(LIVE,)),
        replace(fine, snapshots=(), artifacts=(artifact(age=30 * DAY),)),
        replace(fine, artifacts=(artifact(store="former"),)),
        replace(fine, newest_proof=a_proof("p", ended_at=NOW, reason="it was empty")),
        replace(
            fine, last_runs=(replace(FAILED, kind=JobKind.DRILL),), newest_passed_proof=a_proof("p", ended_at=LONG_AGO)
        ),
        replace(fine, drill_obstacle="no image"),
        replace(fine, lineage=lineage(first_seen_at=LONG_AGO)),
        replace(fine, artifacts=(artifact(is_failed=True),)),
        replace(fine, artifacts=(artifact(age=HOUR),), verification=VerificationFacts(-DAY)),
        replace(fine, restores=(restored(RestorePhase.SWITCHING), restored(RestorePhase.RESTORED))),
        replace(fine, imports=(imported(ImportPhase.MOVED), imported(ImportPhase.MOVING))),
        replace(fine, volume=None),
        replace(fine, snapshots=None),
    )
    outage = OrgFacts("personal", None)
    partial = OrgFacts("personal", inventory(missing=("ams",)))
    retention = RetentionFacts(Schedule("20 2 * * *"), (REFUSED,), None)
    idle = OrgFacts("personal", inventory(), retention=retention)
    whole = OrgFacts("personal", inventory(), rules=(RULE,), unprotected=(volume(),), lax_stores=(("offsite", NOW),))
    found = [finding for facts in cases for finding in evaluate(facts, RULE, now=NOW).findings]
    found += evaluate(fine, ON_PLATFORM, now=NOW).findings
    found += [finding for org in (outage, partial, idle, whole) for finding in evaluate_org(org, now=NOW).findings]
    flaws = (ProofFlaw("offsite", "_proofs/x", "altered"),)
    found += with_proof_flaws(evaluate_org(whole, now=NOW), flaws, now=NOW).findings
    undescribed = DescriptionState(AppName("my-crocbot"), None, "403", None)
    found += with_undescribed(evaluate_org(whole, now=NOW), (undescribed,), now=NOW).findings
    found += with_stale_runbooks(
        evaluate_org(whole, now=NOW), (StaleRunbook(AppName("a"), "offsite", NOW, "403"),)
    ).findings
    half = HalfRecovery(AppName("a"), AppName("b"), "personal", RunId("r"), NOW, frozenset())
    found += with_half_recoveries(evaluate_org(whole, now=NOW), (half,), None, of="personal").findings
    return [*found, notifier_finding("oncall", error="410", since_at=NOW, last_good_at=None)]


def rows() -> dict[str, tuple[str, str, str]]:
    lines = re.findall(r"^\| `([a-z._]+)` \| (\w+) \| (.+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len({code for code, *_ in lines}) == len(lines)
    return {code: (severity, meaning, step) for code, severity, meaning, step in lines}


def test_the_page_lists_exactly_the_codes_that_exist() -> None:
    assert list(rows()) == [str(code) for code in FindingCode]


def test_the_page_gives_each_code_the_severity_it_is_found_with() -> None:
    found = {str(finding.code): str(finding.severity) for finding in every_finding()}
    assert set(found) == {str(code) for code in FindingCode}
    assert {code: severity for code, (severity, *_) in rows().items()} == found


def test_every_finding_has_a_meaning_and_a_next_step() -> None:
    assert all(len(meaning) > 20 and len(step) > 10 for _, meaning, step in rows().values())
    assert all(finding.next_step for finding in every_finding())

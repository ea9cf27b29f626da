"""An import that waits for somebody is told, with the command that ends it."""

from datetime import timedelta

import pytest

from flykeep.domain.compliance import evaluate
from flykeep.domain.compliance_import import DECIDE_WITHIN
from flykeep.domain.findings import FindingCode, Severity
from flykeep.domain.ids import RunId
from flykeep.domain.imports import ImportPhase, ImportRecord
from flykeep.domain.policy import TargetRule
from tests.unit.domain.builders import NOW
from tests.unit.domain.test_compliance import POLICY, facts

MINUTE = timedelta(minutes=1)


def told(phase: ImportPhase, ago: timedelta, *, is_importing: bool = False) -> list[tuple[str, str, str]]:
    record = ImportRecord(RunId("R1"), phase, NOW - ago, is_restarting=False)
    judged = evaluate(facts(imports=(record,), is_importing=is_importing), TargetRule("*/*", POLICY), now=NOW)
    return [(str(one.code), str(one.severity), one.next_step) for one in judged.findings]


@pytest.mark.parametrize(
    ("phase", "severity"),
    [
        (ImportPhase.STAGING, Severity.WARNING),
        (ImportPhase.MOVING, Severity.CRITICAL),
        (ImportPhase.UNDOING, Severity.CRITICAL),
        (ImportPhase.DROPPING, Severity.WARNING),
    ],
)
def test_what_stopped_half_way_is_told_unless_a_run_works_on_it(phase: ImportPhase, severity: Severity) -> None:
    assert told(phase, MINUTE) == [(FindingCode.IMPORT_HALF_DONE, severity, "flykeep reconcile --apply")]
    assert told(phase, MINUTE, is_importing=True) == []


@pytest.mark.parametrize(
    ("phase", "ways"),
    [
        (ImportPhase.MOVED, "flykeep import confirm R1, or flykeep import undo R1"),
        (ImportPhase.UNDONE, "flykeep import confirm R1"),
    ],
)
def test_what_is_kept_on_the_volume_is_told_after_a_week(phase: ImportPhase, ways: str) -> None:
    assert told(phase, DECIDE_WITHIN) == []
    assert told(phase, DECIDE_WITHIN + MINUTE) == [(FindingCode.IMPORT_NOT_CONFIRMED, Severity.WARNING, ways)]
    assert told(phase, DECIDE_WITHIN + MINUTE, is_importing=True) == []


def test_an_import_that_is_over_is_not_spoken_of() -> None:
    assert told(ImportPhase.OVER, DECIDE_WITHIN + MINUTE) == []

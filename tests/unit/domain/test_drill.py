"""Drills: planned from what is configured, judged by what was found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flykeep.domain.agreement import Comparison, Difference
from flykeep.domain.drill import DrillMeans, plan_drill, reference_artifact, restorable_artifact, why_failed
from flykeep.domain.errors import RefusalError
from flykeep.domain.probes import ProbeOutcome
from tests.unit.domain.builders import DAY, artifact

EQUAL = Comparison(equal=3, changed=0, gone=0, added=0, contradictions=0)
FINE = ProbeOutcome("exists a", is_passed=True, detail="1 found")


@pytest.mark.parametrize(
    ("has_machines", "opens", "wanted", "source", "is_here"),
    [
        (True, False, None, "snapshot", False),
        (True, True, None, "snapshot", False),
        (True, True, "artifact", "artifact", False),
        (False, True, None, "artifact", True),
        (False, True, "artifact", "artifact", True),
    ],
)
def test_a_drill_takes_what_can_be_restored(
    *, has_machines: bool, opens: bool, wanted: str | None, source: str, is_here: bool
) -> None:
    plan = plan_drill(DrillMeans(has_machines, opens), wanted=wanted)
    assert (plan.source, plan.is_here) == (source, is_here)
    assert source in plan.reasons[0]


@pytest.mark.parametrize(
    ("has_machines", "opens", "wanted", "words"),
    [
        (False, False, None, "cannot run here"),
        (False, True, "snapshot", "worker"),
        (True, False, "artifact", "identity_secret"),
    ],
)
def test_what_cannot_be_restored_here_is_refused(
    *, has_machines: bool, opens: bool, wanted: str | None, words: str
) -> None:
    with pytest.raises(RefusalError, match=words):
        plan_drill(DrillMeans(has_machines, opens), wanted=wanted)


def test_the_newest_artifact_that_counts_in_a_known_store_is_taken() -> None:
    old = artifact("X1", age=3 * DAY)
    torn = replace(artifact("X3", age=DAY), is_failed=True)
    elsewhere = artifact("X4", age=0 * DAY, store="gone")
    every = (old, artifact("X2", age=2 * DAY), torn, elsewhere)
    assert restorable_artifact(every, stores=[old.store]).export_id == "X2"
    assert reference_artifact(every, stores=["none"]) is None
    with pytest.raises(RefusalError, match="no restorable artifact"):
        restorable_artifact((torn,), stores=[old.store])


def test_an_empty_volume_fails_without_a_single_probe() -> None:
    assert why_failed(files=0, probes=(), comparison=None) == "the restored volume holds no file"


def test_a_volume_that_answers_everything_passes() -> None:
    assert why_failed(files=1, probes=(FINE,), comparison=EQUAL, compared_with="X1") is None


@pytest.mark.parametrize(
    ("contradictions", "words"),
    [(1, "1 entry contradicts artifact X1: a has b"), (7, "7 entries contradict artifact X1: a has b")],
)
def test_every_failing_probe_and_contradiction_is_a_reason(contradictions: int, words: str) -> None:
    bad = replace(EQUAL, contradictions=contradictions, first=(Difference("a", "has b"),))
    probe = ProbeOutcome("json c.json", is_passed=False, detail="no such file")
    reason = why_failed(files=1, probes=(FINE, probe), comparison=bad, compared_with="X1")
    assert reason == f"json c.json: no such file; {words}"


@given(
    files=st.integers(0, 3),
    passed=st.lists(st.booleans(), max_size=4),
    contradictions=st.none() | st.integers(0, 3),
)
def test_a_drill_passes_only_where_nothing_speaks_against_it(
    files: int, passed: list[bool], contradictions: int | None
) -> None:
    probes = [ProbeOutcome("p", is_passed=one, detail="d") for one in passed]
    comparison = None if contradictions is None else replace(EQUAL, contradictions=contradictions)
    is_passed = why_failed(files=files, probes=probes, comparison=comparison) is None
    assert is_passed == (files > 0 and all(passed) and not contradictions)

"""What is asked of a volume before it is used: the drill's questions, without a trace and without credentials."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from flykeep.domain.agreement import Comparison, Difference
from flykeep.domain.errors import StoreUnavailableError, WorkerError
from flykeep.domain.policy import JobKind
from flykeep.domain.probes import JsonProbe, ProbeOutcome
from flykeep.jobs.probing import NOT_COMPARED, ProbeReport
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.visit_world import VisitParts


@pytest.fixture
async def made(parts: Parts) -> VisitParts:
    parts.rule = replace(parts.rule, probes=(JsonProbe("crocbot.json"),))
    made = VisitParts(parts)
    run = await parts.claimed(kind=JobKind.EXPORT)
    await parts.export.run(parts.work(run))
    return made


async def probed(made: VisitParts) -> tuple[ProbeReport, list[str]]:
    work = await made.work()
    report = await made.prober.probe(work, made.the_volume, as_of=made.parts.clock.now() - timedelta(hours=1))
    assert made.world.servers == {}
    return report, await made.names(work)


async def test_the_worker_is_to_leave_no_trace_and_gets_a_link_to_the_index_alone(made: VisitParts) -> None:
    report, _ = await probed(made)
    assert (report.is_passed, report.files) == (True, 3)
    (order,) = made.asking.seen
    assert (order.is_kept, order.restore, order.probes) == (True, None, made.parts.rule.probes)
    assert order.reference is not None
    assert [key for key, _ in order.reference.store.links] == [order.reference.index.key]
    assert report.compared_with is not None


async def test_what_is_wrong_is_told_and_not_raised(made: VisitParts) -> None:
    outcome = ProbeOutcome("json crocbot.json", is_passed=False, detail="crocbot.json is missing")
    first = (Difference("crocbot.json", "is missing"),)
    made.asking.result = replace(
        made.asking.result, probes=(outcome,), comparison=Comparison(1, 0, 0, 0, 1, first=first)
    )
    report, _ = await probed(made)
    assert report.reason is not None
    assert "crocbot.json is missing" in report.reason
    assert "1 entry contradicts artifact" in report.reason
    assert not report.is_passed


async def test_a_store_that_does_not_answer_keeps_nobody_from_probing(made: VisitParts) -> None:
    made.asking.errors = [StoreUnavailableError("no answer")]
    report, steps = await probed(made)
    assert (report.is_passed, report.compared_with) == (True, None)
    assert NOT_COMPARED in steps
    assert [order.reference is None for order in made.asking.seen] == [False, True]


async def test_without_an_artifact_that_a_worker_can_see_nothing_is_compared(made: VisitParts) -> None:
    made.hidden = frozenset({"offsite", "shelf"})
    report, _ = await probed(made)
    assert (report.is_passed, made.asking.seen[0].reference, made.links.asked) == (True, None, [])


async def test_a_worker_that_fails_is_no_report(made: VisitParts) -> None:
    made.asking.errors = [WorkerError("it died")]
    with pytest.raises(WorkerError):
        await probed(made)
    assert made.world.servers == {}

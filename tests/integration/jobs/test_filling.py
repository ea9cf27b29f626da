"""An empty volume filled from an artifact: only from one that is signed, and never said to be whole where it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flykeep.domain.agreement import Comparison, Difference
from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import ConfigError, IntegrityError, RefusalError
from flykeep.domain.policy import JobKind
from flykeep.domain.probes import JsonProbe, ProbeOutcome
from flykeep.jobs.filling import FILLED, FILLING, Filler
from flykeep.jobs.probing import ProbeReport
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.visit_world import VisitParts

IDENTITY = "AGE-SECRET-KEY-1PLANTED"
PROBES = (JsonProbe("crocbot.json"),)


@pytest.fixture
async def made(parts: Parts) -> VisitParts:
    parts.identity = IDENTITY
    made = VisitParts(parts)
    await parts.export.run(parts.work(await parts.claimed(kind=JobKind.EXPORT)))
    made.the_volume = replace(made.the_volume, size_gb=10)
    return made


async def artifact_of(made: VisitParts) -> Artifact:
    async with made.parts.catalog.transaction() as tx:
        return next(one for one in await tx.artifacts() if one.store == "offsite")


async def filled(made: VisitParts, artifact: Artifact | None = None, **given: Any) -> tuple[ProbeReport, list[str]]:
    work = await made.work()
    filler = Filler(made.prober)
    found = artifact or await artifact_of(made)
    report = await filler.fill(work.journal, made.the_volume, found, probes=PROBES, **given)
    return report, await made.names(work)


async def test_the_worker_gets_links_to_this_artifact_alone_and_the_identity(made: VisitParts) -> None:
    report, steps = await filled(made)
    assert report.is_passed
    artifact = await artifact_of(made)
    (order,) = made.asking.seen
    assert order.restore is not None
    assert order.reference is not None
    assert (order.is_kept, order.probes, order.restore.identity) == (True, PROBES, IDENTITY)
    assert {key for key, _ in order.restore.store.links} == {one.key for one in artifact.objects}
    assert order.reference.store == order.restore.store
    assert (order.reference.is_exact, order.reference.unsteady) == (True, ())
    assert [step for step in steps if step in {FILLING, FILLED}] == [FILLING, FILLED]
    assert IDENTITY not in repr(order)


async def test_an_identity_that_is_handed_in_goes_before_the_configured_one(made: VisitParts) -> None:
    await filled(made, identity="AGE-SECRET-KEY-1OTHER")
    restore = made.asking.seen[0].restore
    assert restore is not None
    assert restore.identity == "AGE-SECRET-KEY-1OTHER"


async def test_an_artifact_that_is_not_encrypted_needs_no_identity(made: VisitParts) -> None:
    made.parts.identity, made.parts.recipients = None, ()
    await made.parts.export.run(await made.work(kind=JobKind.EXPORT))
    async with made.parts.catalog.transaction() as tx:
        plain = next(one for one in await tx.artifacts() if one.manifest.encryption == "none")
    await filled(made, plain)
    restore = made.asking.seen[0].restore
    assert restore is not None
    assert restore.identity is None


async def test_what_cannot_be_filled_is_refused_before_a_machine_is_made(made: VisitParts) -> None:
    artifact = await artifact_of(made)
    made.the_volume = replace(made.the_volume, size_gb=0)
    with pytest.raises(RefusalError, match="needs a volume of 1 GB"):
        await filled(made)
    made.hidden = frozenset({"offsite"})
    with pytest.raises(RefusalError, match="a folder that a worker machine does not have"):
        await filled(made)
    made.hidden = frozenset()
    made.the_volume = replace(made.the_volume, size_gb=10)
    made.parts.identity = None
    with pytest.raises(ConfigError, match="is encrypted"):
        await filled(made)
    made.parts.identity = IDENTITY
    await made.parts.stores["offsite"].put(artifact.manifest_key, b"{}")
    with pytest.raises(IntegrityError):
        await filled(made)
    assert made.world.asked == []


@pytest.mark.parametrize("is_compared", [True, False])
async def test_a_difference_is_an_error_and_no_report(made: VisitParts, is_compared: bool) -> None:
    differs = Comparison(1, 0, 0, 0, 1, first=(Difference("a", "is missing"),))
    made.asking.result = replace(made.asking.result, comparison=differs if is_compared else None)
    with pytest.raises(IntegrityError, match="is not the artifact") as failed:
        await filled(made)
    assert failed.value.exit_code == 7
    assert made.world.servers == {}
    assert "vol_new" in made.world.volumes


async def test_a_probe_that_fails_is_told(made: VisitParts) -> None:
    outcome = ProbeOutcome("json crocbot.json", is_passed=False, detail="crocbot.json is missing")
    made.asking.result = replace(made.asking.result, probes=(outcome,))
    report, _ = await filled(made)
    assert report.reason == "json crocbot.json: crocbot.json is missing"

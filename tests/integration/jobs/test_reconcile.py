"""What dead processes left: runs closed, finished artifacts adopted, half-made ones removed, all else untouched."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.codecs.keys import StateKeys
from flykeep.domain.errors import SignatureError, StoreUnavailableError
from flykeep.domain.ids import OwnerId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, Run, RunState, Step
from flykeep.domain.target import ORG_LINEAGE
from flykeep.jobs.context import Journal, OrgWork
from tests.integration.jobs.parts import OWNER, Parts

PREFIX = "my-crocbot/crocbot_data/2026/half"
FOREIGN = "my-crocbot/crocbot_data/2026/halfway/data"


async def died_exporting(parts: Parts) -> Run:
    """A run whose process died after it stored half an artifact."""
    run = await parts.claimed()
    await Journal(run, parts.catalog, parts.clock).step("export", export_id="half", store="offsite", prefix=PREFIX)
    await parts.stores["offsite"].put(f"{PREFIX}/data", b"half")
    await parts.stores["offsite"].put(FOREIGN, b"somebody else's")
    return run


async def died_committed(parts: Parts) -> Run:
    """A run whose process died when its manifests were written and nothing was recorded."""
    run = await parts.claimed()
    made = replace(parts, stores=parts.stores)
    await made.export.run(made.work(run))
    async with parts.catalog.transaction() as tx:
        begun = [step for step in await tx.steps(run.id) if step.name == "export"]
        await tx.finish(run.id, outcome=Outcome(RunState.SUCCEEDED), now=parts.clock.now())
    again = await parts.claimed()
    async with parts.catalog.transaction() as tx:
        for step in begun:
            await tx.add_step(Step(again.id, step.number, step.name, step.at, step.detail))
    return again


async def test_a_half_made_artifact_is_removed_and_its_run_interrupted(parts: Parts) -> None:
    run = await died_exporting(parts)
    shown = await parts.reconcile.reconcile(is_applied=False)
    assert (await parts.again(run)).state is RunState.RUNNING
    assert len(await parts.keys_in("offsite")) == 2
    applied = await parts.reconcile.reconcile(is_applied=True)
    assert [(left.action, left.objects) for left in applied.leftovers] == [("remove", (f"{PREFIX}/data",))]
    assert (shown.interrupted, shown.leftovers) == (applied.interrupted, applied.leftovers)
    ended = await parts.again(run)
    assert ended.state is RunState.INTERRUPTED
    assert ended.outcome is not None
    assert ended.outcome.failure is not None
    assert ended.outcome.failure.exit_code == 8
    assert await parts.keys_in("offsite") == [FOREIGN]
    assert (await parts.reconcile.reconcile(is_applied=True)).leftovers == ()


async def test_a_committed_artifact_is_adopted(parts: Parts) -> None:
    run = await died_committed(parts)
    shown = await parts.reconcile.reconcile(is_applied=False)
    report = await parts.reconcile.reconcile(is_applied=True)
    assert [left.action for left in report.leftovers] == ["adopt", "adopt"] == [left.action for left in shown.leftovers]
    assert report.interrupted == (run.id,)
    async with parts.catalog.transaction() as tx:
        assert {artifact.store for artifact in await tx.artifacts()} == {"offsite", "shelf"}


async def test_nothing_left_is_said_and_not_asked_again(parts: Parts) -> None:
    await died_exporting(parts)
    await parts.stores["offsite"].delete(f"{PREFIX}/data")
    assert [left.action for left in (await parts.reconcile.reconcile(is_applied=True)).leftovers] == ["nothing left"]
    assert (await parts.reconcile.reconcile(is_applied=True)).leftovers == ()


async def test_a_manifest_of_another_daemon_is_kept(parts: Parts, tmp_path: Path) -> None:
    await died_committed(parts)
    parts.keys = StateKeys.load_or_create(tmp_path / "other")
    report = await parts.reconcile.reconcile(is_applied=True)
    assert all(left.action.startswith("kept: ") for left in report.leftovers)
    assert len(await parts.keys_in("offsite")) == 3
    with pytest.raises(SignatureError):
        await parts.settler.settle(parts.stores["offsite"], report.leftovers[0].prefix)


async def test_a_store_that_does_not_answer_is_asked_again_next_time(parts: Parts) -> None:
    await died_exporting(parts)
    parts.stores["offsite"].fail_with(StoreUnavailableError("not now"))
    assert [left.action for left in (await parts.reconcile.reconcile(is_applied=True)).leftovers] == ["kept: not now"]
    assert [left.action for left in (await parts.reconcile.reconcile(is_applied=True)).leftovers] == ["remove"]


async def test_a_store_that_is_not_configured_any_more_is_named(parts: Parts) -> None:
    await died_exporting(parts)
    del parts.stores["offsite"]
    (left,) = (await parts.reconcile.reconcile(is_applied=True)).leftovers
    assert left.action == "kept: the store is not configured any more"


async def test_the_run_of_a_living_process_is_left_alone(parts: Parts) -> None:
    run = await died_exporting(parts)
    async with parts.owners.hold(OWNER, is_daemon=False):
        assert (await parts.reconcile.reconcile(is_applied=True)).interrupted == ()
    assert (await parts.again(run)).state is RunState.RUNNING


async def test_a_run_set_aside_for_a_dead_process_is_closed_and_one_for_anybody_is_not(parts: Parts) -> None:
    aside = await parts.pending(owner_id=OwnerId("gone"))
    anybody = await parts.pending()
    report = await parts.reconcile.reconcile(is_applied=True)
    assert report.interrupted == (aside.id,)
    assert (await parts.again(anybody)).state is RunState.PENDING


async def test_what_an_old_run_left_is_not_looked_for_for_ever(parts: Parts) -> None:
    run = await died_exporting(parts)
    async with parts.catalog.transaction() as tx:
        await tx.finish(run.id, outcome=Outcome(RunState.FAILED), now=parts.clock.now())
    await parts.clock.sleep(timedelta(days=15))
    assert (await parts.reconcile.reconcile(is_applied=True)).leftovers == ()


async def test_the_job_journals_what_it_did_and_nothing_where_it_did_nothing(parts: Parts) -> None:
    await died_exporting(parts)
    reports = []
    for _ in range(2):
        run = await parts.pending(kind=JobKind.RECONCILE, lineage_id=ORG_LINEAGE)
        outcome = await parts.reconcile.run(OrgWork(run, Journal(run, parts.catalog, parts.clock)))
        reports.append((len(json.loads(outcome.result_json)["leftovers"]), len(await parts.steps(run))))
    assert reports == [(1, 1), (0, 0)]

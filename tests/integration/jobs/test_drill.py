"""Drills: what they prove, what they refuse, and that nothing of them is left whatever happens."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flykeep.domain import layout
from flykeep.domain.agreement import Comparison, Difference
from flykeep.domain.artifact import Artifact, ChangedFile
from flykeep.domain.errors import (
    ConfigError,
    FlyCapacityError,
    IntegrityError,
    RefusalError,
    StoreNotFoundError,
    StoreUnavailableError,
    WorkerError,
)
from flykeep.domain.ids import OwnerId, ProofId, RunId
from flykeep.domain.policy import Policy
from flykeep.domain.probes import JsonProbe, ProbeOutcome
from flykeep.domain.proof import Proof, parse
from flykeep.domain.run import Outcome, RunState
from flykeep.domain.scratch import WORKER_GUESTS
from flykeep.jobs.drill_sweep import DrillSweep
from tests.full import full
from tests.integration.jobs.drill_world import FINE, DrillParts
from tests.integration.jobs.parts import OWNER, Parts
from tests.integration.jobs.scratch_world import DiedError, Reaper


@pytest.fixture
def made(parts: Parts, tmp_path: Path) -> DrillParts:
    return DrillParts(parts, tmp_path / "drills")


async def exported(made: DrillParts, **changes: Any) -> Artifact:
    """An artifact in both stores, made over SSH."""
    made.parts.workers.changes = changes
    run = await made.parts.claimed()
    outcome = await made.parts.export.run(made.parts.work(run))
    async with made.parts.catalog.transaction() as tx:
        await tx.finish(run.id, outcome=outcome, now=made.parts.clock.now())
        return (await tx.artifacts())[0]


async def drilled(made: DrillParts, *, source: str | None = None) -> tuple[Outcome, Proof]:
    run = await made.claimed(source=source)
    outcome = Outcome(RunState.FAILED)
    try:
        outcome = await made.job.run(made.work(run))
    finally:
        async with made.parts.catalog.transaction() as tx:
            await tx.finish(run.id, outcome=outcome, now=made.parts.clock.now())
    async with made.parts.catalog.transaction() as tx:
        recorded = await tx.proof(ProofId(run.id))
    assert recorded is not None
    return outcome, recorded.proof


def looks_like(directory: Path) -> tuple[int, list[str]]:
    return directory.stat().st_mode & 0o777, [path.name for path in directory.iterdir()]


async def proofs_in(made: DrillParts, store: str) -> list[Proof]:
    kept = made.parts.stores[store]
    return [parse(await kept.get(one.key)).proof for one in await kept.list(layout.PROOFS_PREFIX)]


async def assert_nothing_left(made: DrillParts) -> None:
    assert (made.world.servers, made.world.volumes) == ({}, {})
    assert await made.rooms.left() == ()


async def test_a_snapshot_is_restored_probed_removed_and_proven_in_every_store(made: DrillParts) -> None:
    made.parts.rule = replace(made.parts.rule, probes=(JsonProbe("crocbot.json"),))
    artifact = await exported(made, changed=(ChangedFile("log", "changed"),))
    outcome, proof = await drilled(made)
    assert outcome.state is RunState.SUCCEEDED
    assert proof.is_passed
    assert (proof.source.kind, proof.source.snapshot_id) == ("snapshot", "vs_0")
    assert proof.source.as_of_at == made.fly.rows[0].created_at
    assert proof.against is not None
    assert proof.against.export_id == artifact.export_id
    [order] = made.drilling.seen
    assert order.probes == made.parts.rule.probes
    assert order.restore is None
    assert order.reference is not None
    assert order.reference.unsteady == ("log",)
    assert not order.reference.is_exact
    assert [(one.step, one.is_restore) for one in proof.timings] == [
        ("volume", True),
        ("machine", True),
        ("probe", False),
    ]
    assert await proofs_in(made, "offsite") == await proofs_in(made, "shelf") == [proof]
    assert made.fly.changes == []
    await assert_nothing_left(made)


async def test_a_proof_is_signed_by_the_daemons_key_and_read_back_as_believed(made: DrillParts) -> None:
    await drilled(made)
    document = await made.parts.stores["offsite"].get(
        (await made.parts.stores["offsite"].list(layout.PROOFS_PREFIX))[0].key
    )
    assert parse(document).signer_hex == made.parts.keys.signer.public_hex
    assert await made.book.read_new() == ()


async def test_without_an_artifact_nothing_is_compared(made: DrillParts) -> None:
    made.drilling.result = replace(FINE, comparison=None)
    _, proof = await drilled(made)
    assert proof.is_passed
    assert proof.against is None
    assert made.drilling.seen[0].reference is None


async def test_an_export_that_saw_very_many_files_change_is_not_compared_with(made: DrillParts) -> None:
    await exported(made, changed=tuple(ChangedFile(f"log-{number}", "changed") for number in range(301)))
    made.drilling.result = replace(FINE, comparison=None)
    await drilled(made)
    assert made.drilling.seen[0].reference is None


BAD = Comparison(equal=1, changed=0, gone=0, added=0, contradictions=1, first=(Difference("a", "has other content"),))


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (replace(FINE, files=0), "the restored volume holds no file"),
        (replace(FINE, probes=(ProbeOutcome("json a", is_passed=False, detail="no such file"),)), "json a: no such"),
        (replace(FINE, comparison=BAD), "1 entry contradicts artifact"),
        (replace(FINE, probes=(ProbeOutcome("json a", is_passed=False, detail="\udce9"),)), r"json a: \xe9"),
    ],
)
async def test_what_is_not_as_it_must_be_fails_with_the_reason_and_is_proven_too(
    made: DrillParts, result: Any, reason: str
) -> None:
    await exported(made)
    made.drilling.result = result
    outcome, proof = await drilled(made)
    assert outcome.state is RunState.FAILED
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.exit_code) == ("integrity.drill", 7)
    assert reason in outcome.failure.message
    assert proof.reason is not None
    assert proof.reason.startswith(reason)
    assert json.loads(outcome.result_json)["proof"]["reason"] == proof.reason
    assert await proofs_in(made, "shelf") == [proof]
    await assert_nothing_left(made)


@pytest.mark.parametrize("error", [IntegrityError("the stored index is spoiled"), StoreNotFoundError("gone")])
async def test_what_is_not_as_it_was_written_is_a_proof_of_failure(made: DrillParts, error: Exception) -> None:
    made.drilling.errors = [error]
    outcome, proof = await drilled(made)
    assert outcome.state is RunState.FAILED
    assert (proof.reason, proof.contents, proof.timings) == (str(error), None, ())
    await assert_nothing_left(made)


@pytest.mark.parametrize("error", [WorkerError("it died"), StoreUnavailableError("no answer")])
async def test_what_could_not_be_carried_out_is_no_proof(made: DrillParts, error: Exception) -> None:
    made.drilling.errors = [error]
    with pytest.raises(type(error)):
        await drilled(made)
    assert await proofs_in(made, "offsite") == []
    await assert_nothing_left(made)


async def test_no_room_at_fly_is_no_proof(made: DrillParts) -> None:
    made.world.no_room = {(region, guest.memory_mb) for region in ("fra", "ams") for guest in WORKER_GUESTS}
    with pytest.raises(FlyCapacityError):
        await drilled(made)
    await assert_nothing_left(made)


async def test_no_snapshot_is_a_refusal(made: DrillParts) -> None:
    made.fly.rows = ()
    with pytest.raises(RefusalError, match="no finished snapshot"):
        await drilled(made)


async def test_refused_attempts_do_not_count_into_the_measured_time(made: DrillParts) -> None:
    made.world.no_room = {("fra", guest.memory_mb) for guest in WORKER_GUESTS}
    _, proof = await drilled(made)
    assert [one.step for one in proof.timings] == ["volume", "machine", "probe"]
    assert proof.restore_took < timedelta(minutes=1)


async def test_a_store_that_does_not_take_the_proof_degrades_the_run(made: DrillParts) -> None:
    made.parts.stores["shelf"].fail_with(StoreUnavailableError("no answer"))
    outcome, proof = await drilled(made)
    assert outcome.state is RunState.DEGRADED
    assert json.loads(outcome.result_json)["not_stored"] == ["shelf"]
    assert await proofs_in(made, "offsite") == [proof]


# from an artifact


async def test_an_artifact_is_restored_on_a_machine_with_an_empty_volume(made: DrillParts) -> None:
    made.identity = "AGE-SECRET-KEY-1"
    artifact = await exported(made)
    outcome, proof = await drilled(made, source="artifact")
    assert outcome.state is RunState.SUCCEEDED
    assert (proof.source.kind, proof.source.export_id) == ("artifact", artifact.export_id)
    [order] = made.drilling.seen
    assert order.restore is not None
    assert (order.restore.level, order.restore.identity) == ("contents", "AGE-SECRET-KEY-1")
    assert order.reference is not None
    assert order.reference.is_exact
    assert made.world.asked[0] == ("fra", 512)
    await assert_nothing_left(made)


async def test_without_machines_an_artifact_is_restored_into_a_private_directory(made: DrillParts) -> None:
    made.identity, made.has_machines = "AGE-SECRET-KEY-1", False
    await exported(made)
    made.drilling.hold = asyncio.Event()
    task = asyncio.create_task(drilled(made))
    await made.drilling.began.wait()
    [order] = made.drilling.seen
    directory = Path(order.directory)
    assert looks_like(directory) == (0o700, ["secret"])
    made.drilling.hold.set()
    _, proof = await task
    assert proof.source.kind == "artifact"
    await assert_nothing_left(made)
    assert made.world.asked == []


async def test_a_store_that_machines_cannot_see_is_restored_from_here(made: DrillParts) -> None:
    made.identity, made.hidden = "AGE-SECRET-KEY-1", frozenset({"offsite", "shelf"})
    await exported(made)
    await drilled(made, source="artifact")
    assert made.world.asked == []
    made.drilling.result = replace(FINE, comparison=None)
    _, proof = await drilled(made, source="snapshot")
    assert proof.against is None


async def test_a_cancelled_drill_leaves_nothing_in_the_clear(made: DrillParts) -> None:
    made.identity, made.has_machines = "AGE-SECRET-KEY-1", False
    await exported(made)
    made.drilling.hold = asyncio.Event()
    task = asyncio.create_task(drilled(made))
    await made.drilling.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_nothing_left(made)


async def test_a_forged_manifest_is_never_opened(made: DrillParts) -> None:
    made.identity = "AGE-SECRET-KEY-1"
    artifact = await exported(made)
    for store in made.parts.stores.values():
        document = json.loads(await store.get(artifact.manifest_key))
        await store.put(artifact.manifest_key, json.dumps(document | {"policy": "other"}).encode())
    outcome, proof = await drilled(made, source="artifact")
    assert outcome.state is RunState.FAILED
    assert proof.reason is not None
    assert "altered" in proof.reason
    assert made.drilling.seen == []


async def test_a_manifest_that_is_gone_fails_the_drill(made: DrillParts) -> None:
    made.identity = "AGE-SECRET-KEY-1"
    artifact = await exported(made)
    for store in made.parts.stores.values():
        await store.delete(artifact.manifest_key)
    _, proof = await drilled(made, source="artifact")
    assert proof.reason is not None
    assert "not the one that was recorded" in proof.reason


async def test_contents_that_do_not_fit_here_are_refused(made: DrillParts) -> None:
    made.identity, made.has_machines, made.free_bytes = "AGE-SECRET-KEY-1", False, 9
    await exported(made)
    with pytest.raises(RefusalError, match="9 are free here"):
        await drilled(made)
    await assert_nothing_left(made)


async def test_contents_that_do_not_fit_on_a_temporary_volume_are_refused(made: DrillParts) -> None:
    made.identity, made.rule = "AGE-SECRET-KEY-1", replace(made.rule, max_volume_gb=0)
    await exported(made)
    with pytest.raises(RefusalError, match="max_volume_gb"):
        await drilled(made, source="artifact")


async def test_an_encrypted_artifact_needs_an_identity_although_drills_are_allowed(made: DrillParts) -> None:
    await exported(made)
    plan = replace(made.job.means, opens_artifacts=True)
    with pytest.raises(ConfigError, match="encrypted"):
        await replace(made.job, means=plan).run(made.work(await made.claimed(source="artifact")))


async def test_the_artifacts_own_store_has_the_proof_although_no_policy_names_it(made: DrillParts) -> None:
    made.identity = "AGE-SECRET-KEY-1"
    artifact = await exported(made)
    made.parts.rule = replace(made.parts.rule, policy=Policy("standard"))
    _, proof = await drilled(made, source="artifact")
    assert await proofs_in(made, artifact.store) == [proof]


# death


async def died(made: DrillParts, at: int, *, source: str) -> bool:
    """Let the process die at its `at`-th moment; False where it was done before."""
    made.reaper = Reaper(at)
    run = await made.claimed(source=source, owner=OWNER)
    try:
        await made.job.run(made.work(run))
    except DiedError:
        return True
    finally:
        made.reaper = Reaper()
    return False


async def moments(made: DrillParts, *, source: str) -> int:
    run = await made.claimed(source=source, owner=OwnerId("counting"))
    made.reaper = counting = Reaper()
    outcome = await made.job.run(made.work(run))
    async with made.parts.catalog.transaction() as tx:
        await tx.finish(run.id, outcome=outcome, now=made.parts.clock.now())
    return counting.seen


async def planted(made: DrillParts) -> str:
    """What looks like flykeep's and is not."""
    machine = made.world.machine("flykeep-worker-look-alike-1", metadata={})
    directory = made.place / "flykeep-drill-01LOOKALIKE"
    await asyncio.to_thread(directory.mkdir, parents=True)
    await made.parts.stores["offsite"].put("_proofs/look/alike/1.json", b"{}")
    return machine.id


@full("every moment of both drills, several hundred reconciliations")
@pytest.mark.parametrize(("source", "has_machines"), [("snapshot", True), ("artifact", True), ("artifact", False)])
async def test_a_process_that_dies_at_any_moment_leaves_nothing_after_reconcile(
    made: DrillParts, source: str, *, has_machines: bool
) -> None:
    await _dies_at(made, source, has_machines=has_machines, every=1)


@pytest.mark.parametrize(("source", "has_machines"), [("snapshot", True), ("artifact", False)])
async def test_a_process_that_dies_at_some_moments_leaves_nothing_after_reconcile(
    made: DrillParts, source: str, *, has_machines: bool
) -> None:
    await _dies_at(made, source, has_machines=has_machines, every=7)


async def _dies_at(made: DrillParts, source: str, *, has_machines: bool, every: int) -> None:
    made.identity, made.has_machines = "AGE-SECRET-KEY-1", has_machines
    await exported(made)
    machine_id = await planted(made)
    count = await moments(made, source=source)
    assert count >= 20
    for at in range(1, count + 1, every):
        assert await died(made, at, source=source)
        await made.reconcile.reconcile(is_applied=True)
        await made.parts.clock.sleep(timedelta(minutes=11))
        await made.reconcile.reconcile(is_applied=True)
        assert set(made.world.servers) == {machine_id}, at
        assert made.world.volumes == {}, at
        assert await made.rooms.left() == (RunId("01LOOKALIKE"),), at
    flaws = await made.book.read_new()
    assert [flaw.key for flaw in flaws] == ["_proofs/look/alike/1.json"]


async def test_a_directory_that_cannot_be_removed_is_kept_and_told(
    made: DrillParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.identity, made.has_machines = "AGE-SECRET-KEY-1", False
    await exported(made)
    made.drilling.hold = asyncio.Event()
    task = asyncio.create_task(drilled(made))
    await made.drilling.began.wait()
    alive = await made.reconcile.reconcile(is_applied=False)
    assert [left.action for left in alive.rooms] == ["remove"]  # nobody holds the owner's lock here
    sweep = DrillSweep(made.rooms, made.parts.catalog)
    assert await sweep.sweep((), is_applied=True) == ()
    monkeypatch.setattr(shutil, "rmtree", refusing)
    [left] = await sweep.sweep([RunId(made.drilling.seen[0].directory.rpartition("-")[2])], is_applied=True)
    assert left.action.startswith("kept: the directory for drills cannot be used")
    monkeypatch.undo()
    made.drilling.hold.set()
    await task


def refusing(_path: Path) -> None:
    raise OSError(16, "Device or resource busy")

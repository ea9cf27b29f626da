"""Ending a target: everything stops, everything goes where it was asked for, and what is left is said."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from flykeep.domain import layout
from flykeep.domain.errors import BusyError, RefusalError, StoreError, StoreUnavailableError, TargetNotFoundError
from flykeep.domain.holds import AuditAction, Pin
from flykeep.domain.ids import LineageId, MachineId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import RunState
from flykeep.domain.target import Lineage
from flykeep.ports.catalog import Pause
from flykeep.testing.contracts.catalog_samples import a_proof
from tests.integration.jobs.endings import LOOKALIKE, Endings, exported
from tests.integration.jobs.parts import Parts

pytestmark = pytest.mark.asyncio


async def lineage_of(parts: Parts) -> Lineage:
    async with parts.catalog.transaction() as tx:
        (found,) = await tx.lineages(include_retired=True)
    return found


async def gone_from_fly(parts: Parts) -> None:
    """A complete inventory has been read since the volume was last seen."""
    async with parts.catalog.transaction() as tx:
        await tx.save_fly_seen(parts.clock.now())


async def test_a_retired_target_keeps_its_artifacts_and_nothing_else_happens_to_it(parts: Parts) -> None:
    endings = await exported(parts, 2)
    waiting = await parts.pending()
    async with parts.catalog.transaction() as tx:
        await tx.pause(Pause(parts.lineage.id, None, "until it is gone", parts.clock.now()))

    outcome = await endings.retire(reason="sold")

    assert outcome.state is RunState.SUCCEEDED
    assert (await lineage_of(parts)).is_retired
    assert (await parts.again(waiting)).state is RunState.CANCELLED
    assert len(await endings.recorded()) == 4
    async with parts.catalog.transaction() as tx:
        assert await tx.pauses(now=parts.clock.now()) == ()
        (entry,) = await tx.audit()
    assert (entry.action, entry.actor, entry.reason) == (AuditAction.RETIRED, "ops", "sold")
    planned = await endings.planner.expected()
    assert [copy.plan.refusal for copy in planned] == [
        "the target is retired: `flykeep retire --erase` removes what is left of it"
    ] * 2


async def test_an_erasure_leaves_nothing_of_a_target_but_its_audit(parts: Parts) -> None:
    endings = await exported(parts, 2)
    await gone_from_fly(parts)
    proof = replace(a_proof("p1"), proof=replace(a_proof("p1").proof, lineage_id=parts.lineage.id))
    key = layout.proof_key(parts.lineage.app, parts.lineage.volume_name, proof.proof.proof_id)
    await parts.stores["shelf"].put(key, b"{}")
    async with parts.catalog.transaction() as tx:
        await tx.record_proof(proof)
        await tx.save_machine_config(
            MachineId("m1"), lineage_id=parts.lineage.id, config_json="{}", now=parts.clock.now()
        )

    outcome = await endings.retire(reason="the customer asked", is_erasing=True)

    assert outcome.state is RunState.SUCCEEDED
    assert await endings.recorded() == []
    assert await parts.keys_in("shelf") == []
    assert await parts.keys_in("offsite") == [LOOKALIKE]
    assert await parts.stores["shelf"].list("_proofs/") == []
    async with parts.catalog.transaction() as tx:
        assert await tx.machine_config(parts.lineage.id) is None
        erased, retired = await tx.audit()
    assert (erased.action, retired.action) == (AuditAction.ERASED, AuditAction.RETIRED)
    assert erased.reason == "the customer asked"
    assert {count.name: count.count for count in erased.counts} == {
        "artifacts": 4,
        "bytes": 36,
        "proofs": 1,
        "left": 0,
    }


async def test_a_volume_in_use_is_erased_only_after_it_was_retired_by_a_command_of_its_own(parts: Parts) -> None:
    endings = await exported(parts, 2)

    with pytest.raises(RefusalError, match="still exists and a target of the configuration matches it"):
        await endings.retire(reason="oops", is_erasing=True)
    assert len(await endings.recorded()) == 4
    assert not (await lineage_of(parts)).is_retired
    await endings.retire()
    await endings.retire(reason="meant", is_erasing=True)

    assert await endings.recorded() == []


async def test_what_no_target_of_the_configuration_matches_may_be_erased_at_once(parts: Parts) -> None:
    endings = await exported(parts, 1)
    endings.rules = ()

    await endings.retire(reason="meant", is_erasing=True)

    assert await endings.recorded() == []


@pytest.mark.parametrize("reason", [None, "", "  "])
async def test_an_erasure_without_a_reason_is_refused(parts: Parts, reason: str | None) -> None:
    endings = await exported(parts, 1)
    await gone_from_fly(parts)

    with pytest.raises(RefusalError, match="needs a reason"):
        await endings.retire(reason=reason, is_erasing=True)
    assert len(await endings.recorded()) == 2


async def test_a_pinned_artifact_forbids_the_erasure_of_all(parts: Parts) -> None:
    endings = await exported(parts, 2)
    await gone_from_fly(parts)
    (held, *_) = await endings.ids("shelf")
    async with parts.catalog.transaction() as tx:
        await tx.pin(Pin(held, "evidence", parts.clock.now(), "ops"))

    with pytest.raises(RefusalError, match=f"pinned artifacts are not erased: {held}"):
        await endings.retire(reason="why", is_erasing=True)
    assert len(await endings.recorded()) == 4


async def test_a_target_with_a_run_at_work_is_not_ended(parts: Parts) -> None:
    endings = await exported(parts, 1)
    run = await parts.claimed()

    with pytest.raises(BusyError, match=run.id):
        await endings.retire()
    assert not (await lineage_of(parts)).is_retired


async def test_what_can_not_be_erased_is_left_whole_and_said(parts: Parts) -> None:
    endings = await exported(parts, 3)
    await gone_from_fly(parts)
    locked, forged, missing = await endings.recorded("offsite")
    await parts.stores["offsite"].put(forged.manifest_key, b"forged")
    await parts.stores["offsite"].delete(missing.manifest_key)
    parts.stores.pop("shelf")
    _refuse_deletion(parts, locked.manifest_key)

    outcome = await endings.retire(reason="why", is_erasing=True)

    assert outcome.state is RunState.DEGRADED
    assert outcome.failure
    assert outcome.failure.code == "refused.guard"
    left = {(one["export_id"], one["store"]): one["why"] for one in json.loads(outcome.result_json)["left"]}
    assert left[locked.export_id, "offsite"] == "the object is locked"
    assert "can't be read" in left[forged.export_id, "offsite"]
    assert left[locked.export_id, "shelf"] == "its store is not configured any more"
    assert (missing.export_id, "offsite") not in left
    assert {one.export_id for one in await endings.recorded("offsite")} == {locked.export_id, forged.export_id}
    keys = await parts.keys_in("offsite")
    assert set(keys) - {LOOKALIKE} == {
        key for one in (locked, forged) for key in (one.manifest_key, *(stored.key for stored in one.objects))
    }


def _refuse_deletion(parts: Parts, locked_key: str) -> None:
    store = parts.stores["offsite"]
    delete = store.delete

    async def refusing(key: str) -> None:
        if key == locked_key:
            raise StoreError("the object is locked")
        await delete(key)

    store.delete = refusing  # type: ignore[method-assign]


async def test_an_erasure_that_was_broken_off_goes_on(parts: Parts) -> None:
    endings = await exported(parts, 2)
    await gone_from_fly(parts)
    (broken, *_) = await endings.recorded("offsite")
    async with parts.catalog.transaction() as tx:
        await tx.begin_removal(broken.export_id, "offsite", now=parts.clock.now())
    await parts.stores["offsite"].delete(broken.manifest_key)

    await endings.retire(reason="why", is_erasing=True)

    assert await endings.recorded() == []
    assert await parts.keys_in("offsite") == [LOOKALIKE]


async def test_a_store_that_fails_leaves_its_artifact_and_its_proofs(parts: Parts) -> None:
    endings = await exported(parts, 1)
    await gone_from_fly(parts)
    proof = replace(a_proof("p1"), proof=replace(a_proof("p1").proof, lineage_id=parts.lineage.id))
    async with parts.catalog.transaction() as tx:
        await tx.record_proof(proof)
    parts.stores.pop("shelf")
    parts.stores["offsite"].delete = _no_route  # type: ignore[method-assign]

    outcome = await endings.retire(reason="why", is_erasing=True)

    whys = [(one["export_id"], one["why"]) for one in json.loads(outcome.result_json)["left"]]
    assert ("p1", "no route") in whys
    assert len(whys) == 3


async def _no_route(_: str) -> None:
    raise StoreUnavailableError("no route")


async def test_a_target_that_is_not_known_can_not_be_retired(parts: Parts) -> None:
    endings = Endings(parts, (), (await exported(parts, 1)).fuse)
    work = await endings.work(JobKind.RETIRE, lineage_id=LineageId("nobody"))

    with pytest.raises(TargetNotFoundError):
        await endings.retire_job.run(work)

"""Retention acts on its plan, on nothing else, and its death at any moment leaves nothing half."""

from __future__ import annotations

import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flykeep.domain.artifact import StoredObject
from flykeep.domain.errors import StoreError, StoreUnavailableError
from flykeep.domain.holds import AuditAction, Pin
from flykeep.domain.ids import LineageId
from flykeep.domain.policy import JobKind, KeepRule
from flykeep.domain.retention import Fate
from flykeep.domain.run import RunState
from flykeep.domain.target import STORES_LINEAGE
from flykeep.jobs.removal import Removal
from tests.full import full
from tests.integration.jobs.endings import DAY, LOOKALIKE, Endings, Fuse, KilledError, copied, exported, rules
from tests.integration.jobs.parts import Parts, parts_in

pytestmark = pytest.mark.asyncio


async def test_what_no_rule_keeps_goes_with_all_its_objects_and_its_row(parts: Parts) -> None:
    endings = await exported(parts, 4)
    before = await endings.ids("offsite")
    await parts.pending()  # a run that only waits reads nothing yet

    outcome = await endings.prune(actor="ops")

    result = json.loads(outcome.result_json)
    assert outcome.state is RunState.SUCCEEDED
    assert await endings.ids("offsite") == await endings.ids("shelf") == before[:2]
    assert [copy["removed"] for copy in result["copies"]] == [before[2:]] * 2
    await endings.assert_catalog_and_stores_agree()
    assert await parts.stores["offsite"].get(LOOKALIKE) == b"somebody else's"
    async with parts.catalog.transaction() as tx:
        (entry,) = await tx.audit()
    assert (entry.action, entry.actor) == (AuditAction.PRUNED, "ops")
    assert [(count.name, count.count) for count in entry.counts] == [("artifacts", 4), ("bytes", 36)]


async def test_artifacts_are_judged_with_the_lineage_they_belong_to_now(parts: Parts) -> None:
    """A rebuilt catalog gives the artifacts of a lost lineage to the one that holds the volume today."""
    endings = await exported(parts, 4)
    ids = await endings.ids("shelf")
    for known in await endings.recorded("shelf"):
        lost = replace(known.manifest.origin, lineage_id=LineageId("lost with its catalog"))
        async with parts.catalog.transaction() as tx:
            await tx.record_artifact(replace(known, manifest=replace(known.manifest, origin=lost)))

    plan = await endings.planner.expected(parts.lineage.id)

    (copy,) = [one for one in plan if one.store == "shelf"]
    assert [artifact.export_id for artifact in copy.plan.of(Fate.REMOVE)] == ids[2:]


async def test_the_manifest_goes_first_and_each_removal_is_written_down_before_it(parts: Parts) -> None:
    endings = await exported(parts, 3)
    (oldest,) = (await endings.recorded("shelf"))[2:]
    order: list[str] = []
    store = parts.stores["shelf"]
    delete = store.delete

    async def watched(key: str) -> None:
        async with parts.catalog.transaction() as tx:
            (row,) = [one for one in await tx.artifact(oldest.export_id) if one.store == "shelf"]
        assert row.leaving_at is not None
        order.append(key)
        await delete(key)

    store.delete = watched  # type: ignore[method-assign]
    removal = await replace(endings.remover, stores={"shelf": store}).remove(
        oldest, (await endings.work(JobKind.PRUNE)).journal
    )

    assert removal.held is None
    assert order == [oldest.manifest_key, *(stored.key for stored in oldest.objects)]


async def test_death_at_a_call_leaves_no_orphan_and_no_false_artifact(tmp_path: Path) -> None:
    await _die_and_go_on(tmp_path, stride=11)


@full("a database for each of some 70 calls")
async def test_death_at_any_call_leaves_no_orphan_and_no_false_artifact(tmp_path: Path) -> None:
    await _die_and_go_on(tmp_path, stride=1)


async def _die_and_go_on(tmp_path: Path, *, stride: int) -> None:
    """Die at every `stride`-th call; reconcile where the call's number is even, and prune again in any case."""
    (tmp_path / "first").mkdir()
    async with parts_in(tmp_path / "first") as parts:
        endings = await exported(parts, 4)
        template, taken = copied(parts.stores), parts.ids
        async with parts.catalog.transaction():
            shutil.copytree(tmp_path / "first", tmp_path / "template")
        await endings.prune()
        calls, left = endings.fuse.count, [(one.export_id, one.store) for one in await endings.recorded()]
    assert calls > 40

    for number in range(1, calls + 1, stride):
        home = tmp_path / f"at-{number}"
        shutil.copytree(tmp_path / "template", home)
        async with parts_in(home) as parts:
            parts.stores.update(copied(template))
            parts.ids = taken
            await parts.clock.advance(4 * DAY)
            with pytest.raises(KilledError):
                await Endings(parts, rules(), Fuse(number)).prune()

            living = Endings(parts, rules(), Fuse())
            if number % 2 == 0:
                await replace(parts.reconcile, remover=living.remover).reconcile(is_applied=True)
                await living.assert_catalog_and_stores_agree()
            await living.prune()

            await living.assert_catalog_and_stores_agree()
            assert [(one.export_id, one.store) for one in await living.recorded()] == left
            assert await parts.stores["offsite"].get(LOOKALIKE) == b"somebody else's"


class TestWhatIsRefused:
    async def test_an_artifact_whose_manifest_is_missing_or_differs_is_kept_and_told(self, parts: Parts) -> None:
        endings = await exported(parts, 5)
        missing, other = (await endings.recorded("offsite"))[3:]
        await parts.stores["offsite"].delete(missing.manifest_key)
        await parts.stores["offsite"].put(other.manifest_key, b"forged")

        outcome = await endings.prune()

        assert outcome.state is RunState.DEGRADED
        assert {missing.export_id, other.export_id} <= set(await endings.ids("offsite"))
        assert len(await endings.ids("shelf")) == 2
        offsite, shelf = json.loads(outcome.result_json)["copies"]
        assert [problem.partition(": ")[0] for problem in offsite["problems"]] == [missing.export_id, other.export_id]
        assert "is missing in the store" in offsite["problems"][0]
        assert shelf["problems"] == []
        assert [found.key for found in await parts.stores["offsite"].list(other.prefix)][-1] == other.manifest_key

    async def test_nothing_goes_on_the_word_of_a_newest_one_that_is_not_there(self, parts: Parts) -> None:
        """The catalog believes in two good ones; the store has lost both: the older ones are all there is."""
        endings = await exported(parts, 4)
        everything = await endings.recorded("offsite")
        for lost in everything[:2]:
            await parts.stores["offsite"].delete(lost.objects[0].key)

        await endings.prune()

        assert await endings.ids("offsite") == [artifact.export_id for artifact in everything]

    async def test_a_forged_newest_one_does_not_count_either(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        endings.rules = rules(KeepRule(last=1))
        newest, *older = await endings.recorded("offsite")
        signed = await parts.stores["offsite"].get(newest.manifest_key)
        forged = signed.replace(b"standard", b"otherone")
        assert forged != signed
        await parts.stores["offsite"].put(newest.manifest_key, forged)

        await endings.prune()

        assert await endings.ids("offsite") == [newest.export_id, older[0].export_id]

    async def test_a_store_that_can_not_be_read_keeps_everything_and_the_other_is_pruned(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        parts.stores["offsite"].fail_with(StoreUnavailableError("no route"))

        outcome = await endings.prune()

        assert outcome.state is RunState.DEGRADED
        assert (len(await endings.ids("offsite")), len(await endings.ids("shelf"))) == (3, 2)
        assert outcome.failure
        assert "no route" in outcome.failure.message

    async def test_a_store_that_is_not_configured_any_more_keeps_everything(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        shelf = parts.stores.pop("shelf")

        outcome = await endings.prune()

        assert (len(await endings.ids("offsite")), len(await endings.ids("shelf"))) == (2, 3)
        assert outcome.failure
        assert "not configured any more" in outcome.failure.message
        assert len(await shelf.list("my-crocbot/")) == 9

    async def test_too_large_a_share_is_refused_until_the_run_is_allowed_it(self, parts: Parts) -> None:
        endings = await exported(parts, 7)
        endings.share = 0.5

        refused = await endings.prune()

        assert refused.state is RunState.REFUSED
        assert refused.failure
        assert (refused.failure.code, refused.failure.exit_code) == ("refused.guard", 4)
        assert "5 of 7 artifacts would go at once" in refused.failure.message
        assert len(await endings.ids("offsite")) == 7
        assert (await endings.prune(max_delete_share=0.8)).state is RunState.SUCCEEDED
        assert len(await endings.ids("offsite")) == 2

    async def test_what_the_store_locks_stays_a_backup_and_is_shown_with_its_end(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        (oldest,) = (await endings.recorded("offsite"))[2:]
        until = parts.clock.now() + 30 * DAY
        locked = StoreError("the object is locked", facts={"locked_until": until.isoformat()})

        removal = await _refused_removal(endings, locked)

        assert removal.is_locked
        (kept,) = (await endings.recorded("offsite"))[2:]
        assert kept.lock
        assert (kept.leaving_at, kept.lock.until_at, kept.lock.reason) == (None, until, "the object is locked")
        assert kept.satisfies_rpo
        (plan,) = [copy.plan for copy in await endings.planner.plan() if copy.store == "offsite"]
        assert plan.of(Fate.REFUSE) == (kept,)
        assert (await endings.prune()).state is RunState.SUCCEEDED
        await parts.clock.advance(31 * DAY)
        await endings.prune()
        assert oldest.export_id not in await endings.ids("offsite")

    async def test_a_lock_that_only_the_removal_meets_degrades_the_run(self, parts: Parts) -> None:
        async def refuse(key: str) -> None:
            raise StoreError("the object is locked")

        endings = await exported(parts, 3)
        parts.stores["offsite"].delete = refuse  # type: ignore[method-assign]

        outcome = await endings.prune()

        assert outcome.state is RunState.DEGRADED
        assert outcome.failure
        assert "locked by the store" in outcome.failure.message
        assert (await endings.prune()).state is RunState.SUCCEEDED  # now it is known, and planned with

    async def test_a_pin_keeps_an_artifact_in_every_store(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        oldest = (await endings.ids("shelf"))[2]
        async with parts.catalog.transaction() as tx:
            await tx.pin(Pin(oldest, "evidence", parts.clock.now(), "ops"))

        assert (await endings.prune()).state is RunState.SUCCEEDED

        assert oldest in await endings.ids("offsite")
        assert oldest in await endings.ids("shelf")

    @pytest.mark.parametrize("lineage_id", [None, STORES_LINEAGE])
    async def test_what_was_pinned_or_is_read_by_a_run_since_the_plan_is_held(
        self, parts: Parts, lineage_id: LineageId | None
    ) -> None:
        endings = await exported(parts, 3)
        (oldest,) = (await endings.recorded("offsite"))[2:]
        journal = (await endings.work(JobKind.PRUNE)).journal
        async with parts.catalog.transaction() as tx:
            await tx.pin(Pin(oldest.export_id, "evidence", parts.clock.now(), "ops"))
        assert (await endings.remover.remove(oldest, journal)).held == "pinned: evidence"
        async with parts.catalog.transaction() as tx:
            await tx.unpin(oldest.export_id)
        run = await parts.claimed(lineage_id=lineage_id or parts.lineage.id)

        pruned = await endings.prune()
        held = json.loads(pruned.result_json)["copies"][0]["held"]

        assert pruned.state is RunState.DEGRADED
        assert pruned.failure
        assert "is at work" in pruned.failure.message
        assert held == [f"{oldest.export_id}: export run {run.id} is at work; it may read it"]
        assert len(await endings.ids("offsite")) == 3

    async def test_what_is_gone_from_the_catalog_meanwhile_is_left_alone(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        (oldest,) = (await endings.recorded("offsite"))[2:]
        async with parts.catalog.transaction() as tx:
            await tx.forget_artifact(oldest.export_id, "offsite")

        removal = await endings.remover.remove(oldest, (await endings.work(JobKind.PRUNE)).journal)

        assert removal.held == "it is not recorded any more"
        assert await parts.stores["offsite"].get(oldest.manifest_key)

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"rules": ()}, "no target of the configuration matches it any more"),
            ({"rules": rules(KeepRule(min=2))}, "policy standard has no keep rule for copies in offsite"),
        ],
    )
    async def test_without_a_rule_nothing_goes_and_nothing_is_amiss(
        self, parts: Parts, change: dict[str, object], why: str
    ) -> None:
        endings = replace(await exported(parts, 3), **change)

        offsite, _ = await endings.planner.expected()
        outcome = await endings.prune()

        assert (offsite.plan.refusal, offsite.problems) == (why, ())
        assert outcome.state is RunState.SUCCEEDED
        assert len(await endings.ids("offsite")) == 3


async def _refused_removal(endings: Endings, error: StoreError) -> Removal:
    (oldest,) = (await endings.recorded("offsite"))[2:]
    journal = (await endings.work(JobKind.PRUNE)).journal
    store = endings.parts.stores["offsite"]
    delete = store.delete

    async def refuse(key: str) -> None:
        store.delete = delete  # type: ignore[method-assign]
        raise error

    store.delete = refuse  # type: ignore[method-assign]
    return await endings.remover.remove(oldest, journal)


class TestWhatASuddenEndLeaves:
    async def test_a_store_that_fails_between_manifest_and_data_is_gone_on_with(self, parts: Parts) -> None:
        endings = await exported(parts, 4)
        parts.stores["offsite"].delete = _failing_after(parts, "offsite", 1)  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailableError):
            await endings.prune()
        (leaving,) = [one for one in await endings.recorded("offsite") if one.leaving_at]
        assert not leaving.satisfies_rpo
        assert (len(await endings.ids("offsite")), len(await endings.ids("shelf"))) == (4, 2)
        del parts.stores["offsite"].delete

        outcome = await endings.prune()

        assert json.loads(outcome.result_json)["finished"] == [leaving.export_id]
        assert len(await endings.ids("offsite")) == 2
        await endings.assert_catalog_and_stores_agree()

    async def test_data_that_is_locked_without_its_manifest_is_no_backup_and_is_tried_again(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        (oldest,) = (await endings.recorded("offsite"))[2:]
        await parts.stores["offsite"].delete(oldest.manifest_key)

        with pytest.raises(StoreError, match="denied"):
            await _refused_removal(endings, StoreError("denied"))

        (leaving,) = (await endings.recorded("offsite"))[2:]
        assert leaving.leaving_at
        assert not leaving.satisfies_rpo

    async def test_reconcile_says_what_it_would_finish_and_why_it_could_not(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        (oldest,) = (await endings.recorded("offsite"))[2:]
        (shelved,) = (await endings.recorded("shelf"))[2:]
        async with parts.catalog.transaction() as tx:
            for one in (oldest, shelved):
                await tx.begin_removal(one.export_id, one.store, now=parts.clock.now())
        parts.stores.pop("shelf")
        reconcile = replace(parts.reconcile, remover=endings.remover)

        planned = await reconcile.reconcile(is_applied=False)
        assert [(one.store, one.action) for one in planned.removals] == [("shelf", "finish"), ("offsite", "finish")]
        parts.stores["offsite"].fail_with(StoreUnavailableError("no route"))
        refused = await reconcile.reconcile(is_applied=True)
        done = await reconcile.reconcile(is_applied=True)

        assert [one.action for one in refused.removals] == [
            "kept: its store is not configured any more",
            "kept: no route",
        ]
        assert [one.action for one in done.removals] == ["kept: its store is not configured any more", "finish"]
        assert oldest.export_id not in await endings.ids("offsite")


def _failing_after(parts: Parts, name: str, calls: int) -> Callable[[str], Awaitable[None]]:
    delete = type(parts.stores[name]).delete
    made: list[str] = []

    async def failing(key: str) -> None:
        if len(made) >= calls:
            raise StoreUnavailableError("no route")
        made.append(key)
        await delete(parts.stores[name], key)

    return failing


class TestCornersOfARemoval:
    async def test_a_store_that_fails_while_an_old_removal_is_finished_fails_the_run_and_not_the_others(
        self, parts: Parts
    ) -> None:
        endings = await exported(parts, 3)
        (oldest,) = (await endings.recorded("offsite"))[2:]
        async with parts.catalog.transaction() as tx:
            await tx.begin_removal(oldest.export_id, "offsite", now=parts.clock.now())
        parts.stores["offsite"].fail_with(StoreUnavailableError("no route"))

        with pytest.raises(StoreUnavailableError):
            await endings.prune()

        assert len(await endings.ids("shelf")) == 2
        assert len(await endings.ids("offsite")) == 3

    async def test_a_removal_whose_store_is_gone_waits(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        (oldest,) = (await endings.recorded("offsite"))[2:]
        parts.stores.pop("offsite")
        journal = (await endings.work(JobKind.PRUNE)).journal

        assert (await endings.remover.remove(oldest, journal)).held == "its store is not configured any more"

    async def test_reconcile_finds_a_lock_that_came_since_and_makes_it_a_backup_again(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        (oldest,) = (await endings.recorded("offsite"))[2:]
        async with parts.catalog.transaction() as tx:
            await tx.begin_removal(oldest.export_id, "offsite", now=parts.clock.now())
        parts.stores["offsite"].fail_with(StoreError("locked"))

        (left,) = await endings.remover.finish_all(is_applied=True)

        assert left.action == "kept: locked"
        (kept,) = (await endings.recorded("offsite"))[2:]
        assert kept.lock
        assert (kept.leaving_at, kept.lock.reason) == (None, "locked")

    async def test_objects_outside_of_an_artifacts_own_folder_are_never_touched(self, parts: Parts) -> None:
        endings = await exported(parts, 3)
        (oldest,) = (await endings.recorded("offsite"))[2:]
        strange = replace(oldest, manifest=replace(oldest.manifest, index=StoredObject("other/index", 1, "00")))

        why = await endings.agreement.mismatch(parts.stores["offsite"], strange)

        assert why == "its manifest names objects outside of its own folder"

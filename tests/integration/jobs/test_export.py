"""The export job around a worker: order, manifest last, copies, and what is left when something fails."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flykeep.domain.artifact import ChangedFile
from flykeep.domain.errors import IntegrityError, RefusalError, StoreError, StoreUnavailableError, WorkerError
from flykeep.domain.layout import RESTORE_KEY
from flykeep.domain.policy import Hook, Hooks
from flykeep.domain.run import Outcome, RunRequest, RunState, Slot
from flykeep.jobs.store_notes import lax_stores
from tests.integration.jobs.parts import Parts

SLOT_AT = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)


async def test_an_export_is_stored_everywhere_and_told_as_one_result(parts: Parts) -> None:
    run = await parts.claimed()
    outcome = await parts.export.run(parts.work(run))
    assert outcome.state is RunState.SUCCEEDED
    result = json.loads(outcome.result_json)
    assert [copy["store"] for copy in result["copies"]] == ["offsite", "shelf"]
    assert result["satisfies_rpo"]
    for name, store in parts.stores.items():
        keys = await parts.keys_in(name)
        assert [key.rpartition("/")[2] for key in keys] == ["data.tar.zst.age", "index.jsonl.zst.age", "manifest.json"]
        assert b"age -d" in await store.get(RESTORE_KEY)
    assert [step.name for step in await parts.steps(run)] == ["plan", *["export", "committed"] * 2]


async def test_a_restore_text_that_is_there_is_left_alone(parts: Parts) -> None:
    await parts.stores["shelf"].put(RESTORE_KEY, b"with the operator's notes")
    await parts.export.run(parts.work(await parts.claimed()))
    assert await parts.stores["shelf"].get(RESTORE_KEY) == b"with the operator's notes"


async def test_files_that_changed_make_an_export_degraded(parts: Parts) -> None:
    parts.workers.changes = {"changed": (ChangedFile("logs/a", "vanished"),)}
    outcome = await parts.export.run(parts.work(await parts.claimed()))
    assert outcome.state is RunState.DEGRADED
    assert json.loads(outcome.result_json)["changed"] == [{"path": "logs/a", "change": "vanished"}]


async def test_an_open_database_never_satisfies_the_rpo_unless_a_hook_made_it_consistent(parts: Parts) -> None:
    parts.workers.changes = {"open_databases": ("app.db-wal",)}
    torn = await parts.export.run(parts.work(await parts.claimed()))
    parts.rule = replace(parts.rule, hooks=Hooks(before_export=Hook(("freeze",), makes_consistent=True)))
    parts.lineage = replace(parts.lineage, id=parts.lineage.id)
    whole = await parts.export.run(parts.work(await parts.pending()))
    assert (torn.state, whole.state) == (RunState.DEGRADED, RunState.SUCCEEDED)
    assert parts.fly.commands == [("freeze",)] * 2


async def test_a_worker_that_fails_leaves_nothing_and_the_other_store_gets_its_copy(parts: Parts) -> None:
    parts.workers.errors = [WorkerError("it died")]
    run = await parts.claimed()
    with pytest.raises(WorkerError) as failed:
        await parts.export.run(parts.work(run))
    assert (failed.value.facts["store"], failed.value.facts["committed"]) == ("offsite", "shelf")
    assert await parts.keys_in("offsite") == []
    assert len(await parts.keys_in("shelf")) == 3
    names = [step.name for step in await parts.steps(run)]
    assert names == ["plan", "export", "settled", "copy failed", "export", "committed"]


async def test_every_store_that_failed_is_named(parts: Parts) -> None:
    parts.workers.errors = [StoreError("full"), StoreUnavailableError("not now")]
    with pytest.raises(StoreError, match="full") as failed:
        await parts.export.run(parts.work(await parts.claimed()))
    assert failed.value.facts == {"store": "offsite", "failed_too": "shelf"}


async def test_a_store_that_lets_creates_overwrite_is_remembered_until_it_does_not(parts: Parts) -> None:
    async def known() -> list[str]:
        async with parts.catalog.transaction() as tx:
            return [name for name, _ in await lax_stores(tx, parts.stores)]

    lax = parts.stores["shelf"]
    real = lax.put_new

    async def put_without_condition(key: str, data: bytes) -> None:
        await real(key, data)
        lax._is_create_atomic = learned

    lax.put_new = put_without_condition  # type: ignore[method-assign]
    for learned in (None, False, False):
        run = await parts.claimed()
        await parts.export.run(parts.work(run))
        await end(parts, run, RunState.SUCCEEDED)
        assert await known() == ([] if learned is None else ["shelf"])
    lax.put_new = real  # type: ignore[method-assign]
    await parts.export.run(parts.work(await parts.claimed()))
    assert await known() == []


async def test_a_retry_exports_only_into_the_store_that_failed(parts: Parts) -> None:
    parts.workers.errors = [StoreError("full")]
    first = await parts.claimed(slot=Slot.scheduled(SLOT_AT))
    with pytest.raises(StoreError) as failed:
        await parts.export.run(parts.work(first))
    assert failed.value.facts["store"] == "offsite"
    await end(parts, first, RunState.FAILED)
    second = await parts.claimed(slot=Slot.scheduled(SLOT_AT, attempt=2))
    outcome = await parts.export.run(parts.work(second))
    assert outcome.state is RunState.SUCCEEDED
    assert [order.store.name for order in parts.workers.orders] == ["offsite", "shelf", "offsite"]


async def test_a_slot_that_was_exported_already_is_not_exported_again(parts: Parts) -> None:
    first = await parts.claimed(slot=Slot.scheduled(SLOT_AT))
    done = await parts.export.run(parts.work(first))
    await end(parts, first, RunState.INTERRUPTED)
    parts.fly.the_machine = replace(parts.fly.the_machine, state="stopped")  # nothing is read any more
    second = await parts.claimed(slot=Slot.scheduled(SLOT_AT, attempt=2))
    assert await parts.export.run(parts.work(second)) == done
    assert len(parts.workers.orders) == 2
    assert [step.name for step in await parts.steps(second)] == ["exported already"] * 2


async def test_a_slot_exported_by_other_rules_is_exported_again(parts: Parts) -> None:
    first = await parts.claimed(slot=Slot.scheduled(SLOT_AT))
    await parts.export.run(parts.work(first))
    await end(parts, first, RunState.INTERRUPTED)
    parts.rule = replace(parts.rule, exclude=("logs/**",))
    await parts.export.run(parts.work(await parts.claimed(slot=Slot.scheduled(SLOT_AT, attempt=2))))
    assert len(parts.workers.orders) == 4


async def test_cancelling_an_export_removes_what_it_stored(parts: Parts) -> None:
    parts.workers.hold = asyncio.Event()
    run = await parts.claimed()
    export = asyncio.create_task(parts.export.run(parts.work(run)))
    await parts.workers.began.wait()
    assert len(await parts.keys_in("offsite")) == 1
    export.cancel()
    with pytest.raises(asyncio.CancelledError):
        await export
    assert await parts.keys_in("offsite") == []
    assert [step.name for step in await parts.steps(run)] == ["plan", "export", "settled"]


async def test_a_store_that_cannot_be_cleared_is_journalled_for_reconcile(parts: Parts) -> None:
    parts.rule = replace(parts.rule, policy=replace(parts.rule.policy, copies=parts.rule.policy.copies[:1]))
    parts.workers.errors = [WorkerError("it died")]
    parts.workers.began.set()
    run = await parts.claimed()
    real = parts.workers.export

    async def export_then_lose_the_store(*given: object, **named: object) -> object:
        try:
            return await real(*given, **named)  # type: ignore[arg-type]
        finally:
            parts.stores["offsite"].fail_with(StoreUnavailableError("gone"))

    parts.workers.export = export_then_lose_the_store  # type: ignore[method-assign, assignment]
    with pytest.raises(WorkerError):
        await parts.export.run(parts.work(run))
    assert "left behind" in [step.name for step in await parts.steps(run)]
    await end(parts, run, RunState.FAILED)
    report = await parts.reconcile.reconcile(is_applied=True)
    assert [left.action for left in report.leftovers] == ["remove"]
    assert await parts.keys_in("offsite") == []


async def test_a_manifest_that_reads_back_differently_is_no_success(parts: Parts) -> None:
    store = parts.stores["offsite"]
    real = store.put_new

    async def garble(key: str, data: bytes) -> None:
        await real(key, data if key == RESTORE_KEY else data + b" ")

    store.put_new = garble  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="manifest read back differs"):
        await parts.export.run(parts.work(await parts.claimed()))


async def test_a_volume_without_a_machine_is_refused(parts: Parts) -> None:
    parts.fly.the_volume = replace(parts.fly.the_volume, attached_machine_id=None)
    with pytest.raises(RefusalError, match="no machine mounts"):
        await parts.export.run(parts.work(await parts.claimed(), request=RunRequest(reason="why not")))


async def end(parts: Parts, run: object, state: RunState) -> None:
    async with parts.catalog.transaction() as tx:
        await tx.finish(run.id, outcome=Outcome(state), now=parts.clock.now())  # type: ignore[attr-defined]

"""A pin outlives the database that it was given to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flykeep.adapters.codecs.keys import StateKeys
from flykeep.adapters.codecs.sealing import AgeOpener
from flykeep.domain import layout, pin_document
from flykeep.domain.errors import NotFoundError, StoreUnavailableError
from flykeep.domain.holds import AuditAction, Pin
from flykeep.domain.ids import ExportId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import RunState
from flykeep.jobs.pins import NotStored
from flykeep.jobs.rebuild import RebuildJob, RebuildReport
from tests.integration.jobs.endings import Endings, exported
from tests.integration.jobs.parts import Parts

pytestmark = pytest.mark.asyncio


async def forgotten(parts: Parts, export_id: ExportId) -> None:
    """The database comes back without the pin."""
    async with parts.catalog.transaction() as tx:
        assert await tx.unpin(export_id)


async def pinned(endings: Endings) -> ExportId:
    oldest = (await endings.ids("shelf"))[2]
    assert await endings.pins.pin(oldest, reason="evidence", actor="ops") == ()
    return oldest


async def rebuilt(parts: Parts) -> RebuildReport:
    job = RebuildJob(parts.catalog, parts.clock, parts.stores, parts.settler, AgeOpener(), lambda: None)
    return await job.rebuild(parts.stores)


async def test_a_pin_that_the_database_forgot_still_holds_in_every_store(parts: Parts) -> None:
    endings = await exported(parts, 3)
    oldest = await pinned(endings)
    await forgotten(parts, oldest)

    assert (await endings.prune()).state is RunState.SUCCEEDED  # planned with, so nothing was held back late

    assert oldest in await endings.ids("offsite")
    assert oldest in await endings.ids("shelf")


async def test_a_removal_that_no_plan_made_is_held_by_the_pin_in_its_store(parts: Parts) -> None:
    endings = await exported(parts, 3)
    await forgotten(parts, await pinned(endings))
    (oldest,) = (await endings.recorded("offsite"))[2:]

    held = (await endings.remover.remove(oldest, (await endings.work(JobKind.PRUNE)).journal)).held

    assert held == "pinned: by its pin in store offsite, which this database does not know"


async def test_rebuild_brings_a_pin_back_with_its_reason_and_its_person(parts: Parts) -> None:
    endings = await exported(parts, 3)
    oldest = await pinned(endings)
    at = parts.clock.now()
    await forgotten(parts, oldest)
    await rebuilt(parts)
    async with parts.catalog.transaction() as tx:
        assert await tx.pins() == (Pin(oldest, "evidence", at, "ops"),)


@pytest.mark.parametrize("how", ["another's place", "another signer", "no pin"])
async def test_a_pin_nobody_may_believe_is_told_and_holds_until_it_is_taken_out(
    parts: Parts, how: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    endings = await exported(parts, 3)
    oldest = (await endings.ids("shelf"))[2]
    stranger = StateKeys.load_or_create(tmp_path_factory.mktemp("stranger")).signer
    signer = stranger if how == "another signer" else parts.keys.signer
    pin = Pin(ExportId("other") if how == "another's place" else oldest, "x", datetime(2026, 1, 1, tzinfo=UTC), "x")
    signature = signer.sign(pin_document.canonical_bytes(pin))
    document = pin_document.to_document(pin, signature_hex=signature, signer_hex=signer.public_hex)
    key = layout.pin_key(oldest)
    await parts.stores["offsite"].put(key, b"{}" if how == "no pin" else document)

    report = await rebuilt(parts)
    await endings.prune()

    assert [one.key for store in report.stores for one in store.refused if one.key.startswith("_")] == [key]
    assert oldest in await endings.ids("offsite")
    assert oldest not in await endings.ids("shelf")
    assert await endings.pins.unpin(oldest, reason="", actor="ops")
    await endings.prune()
    assert oldest not in await endings.ids("offsite")


async def test_a_store_that_does_not_take_the_pin_is_named(parts: Parts) -> None:
    endings = await exported(parts, 1)
    (only,) = await endings.ids("shelf")
    parts.stores["offsite"].fail_with(StoreUnavailableError("down"))
    without = replace(endings.pins, stores={"shelf": parts.stores["shelf"]})

    assert await endings.pins.pin(only, reason="evidence", actor="ops") == (NotStored("offsite", "down"),)
    (told,) = await without.pin(only, reason="evidence", actor="ops")
    assert told == NotStored("offsite", "it is not configured any more")
    assert await endings.pins.pin(only, reason="evidence", actor="ops") == ()


async def test_an_artifact_stays_pinned_until_every_store_has_let_go(parts: Parts) -> None:
    endings = await exported(parts, 1)
    (only,) = await endings.ids("shelf")
    await endings.pins.pin(only, reason="evidence", actor="ops")
    parts.stores["offsite"].fail_with(StoreUnavailableError("down"))

    with pytest.raises(StoreUnavailableError):
        await endings.pins.unpin(only, reason="over", actor="ops")
    async with parts.catalog.transaction() as tx:
        assert [pin.export_id for pin in await tx.pins()] == [only]

    assert await endings.pins.unpin(only, reason="over", actor="ops")
    assert not await endings.pins.unpin(only, reason="over", actor="ops")
    assert [await store.list(layout.PINS_PREFIX) for store in parts.stores.values()] == [[], []]
    async with parts.catalog.transaction() as tx:
        assert await tx.pins() == ()
        assert (await tx.audit(limit=1))[0].action is AuditAction.UNPINNED


async def test_what_nobody_knows_is_neither_pinned_nor_let_go(parts: Parts) -> None:
    endings = await exported(parts, 1)
    with pytest.raises(NotFoundError):
        await endings.pins.pin(ExportId("none"), reason="", actor="ops")
    with pytest.raises(NotFoundError):
        await endings.pins.unpin(ExportId("none"), reason="", actor="ops")

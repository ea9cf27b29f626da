"""Runbooks are renewed when something changed, sealed and signed; a store that fails is told of, and hides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.codecs.sealing import AgeOpener, AgeSealer
from flykeep.domain.compliance_org import OrgCompliance
from flykeep.domain.errors import StoreUnavailableError
from flykeep.domain.findings import FindingCode, Severity
from flykeep.domain.fly import VolumeSnapshot
from flykeep.domain.ids import AppName, SnapshotId, VolumeId
from flykeep.domain.page import command_blocks
from flykeep.domain.run import RunState
from flykeep.domain.runbook_facts import StoreDoor
from flykeep.domain.runbook_state import with_stale_runbooks
from flykeep.domain.signed_page import SignedPage, read_page
from flykeep.domain.subjects import org_subject
from flykeep.jobs.context import Journal
from flykeep.jobs.runbook import Runbooks, WithRunbook, door_of, lineages_of
from flykeep.ports.catalog import RecordedSnapshot, SavedDescription
from flykeep.ports.store import StoreOrder, StoreType
from tests.integration.jobs.parts import Parts, parts_in
from tests.integration.worker.artifacts import OPERATOR
from tests.unit.domain.builders import DAY, HOUR, lineage
from tests.unit.domain.runbook_world import described, described_machine, described_volume

APP = AppName("my-crocbot")
KEY = "_runbooks/my-crocbot.md.zst.age"
DOWN = StoreUnavailableError("The store does not answer.")


@dataclass
class Shelf:
    """The runbooks of one described app, in two stores."""

    parts: Parts
    runbooks: Runbooks
    journal: Journal

    async def steps(self) -> list[tuple[str, str]]:
        steps = await self.parts.steps(self.journal.run)
        return [(step.name, step.detail) for step in steps]

    async def names(self) -> list[str]:
        return [name for name, _ in await self.steps()]

    async def page(self, store: str = "offsite") -> SignedPage:
        sealed = await self.parts.stores[store].get(KEY)
        assert AgeOpener().is_encrypted(sealed)
        return read_page(AgeOpener().open(sealed, identity=str(OPERATOR)))

    async def describe(self, **changes: object) -> None:
        async with self.parts.catalog.transaction() as tx:
            await tx.save_description(SavedDescription(APP, described(**changes), "", self.parts.clock.now()))

    async def snapshot(
        self,
        id: str,  # noqa: A002
        *,
        age: timedelta,
        days: int | None = 5,
        status: str = "created",
    ) -> None:
        made = VolumeSnapshot(SnapshotId(id), status, self.parts.clock.now() - age, 1, 3 << 30, days)
        row = RecordedSnapshot(self.parts.lineage.id, VolumeId("vol_1"), APP, made, self.parts.clock.now())
        async with self.parts.catalog.transaction() as tx:
            await tx.record_snapshot(row)

    async def end(self, *, is_erased: bool) -> None:
        async with self.parts.catalog.transaction() as tx:
            await tx.save_lineage(replace(self.parts.lineage, is_retired=True))
            if is_erased:
                await tx.forget_lineage(self.parts.lineage.id)


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    async with parts_in(tmp_path) as parts:
        recipients = (str(OPERATOR.to_public()),)
        known = parts.catalog, parts.clock, parts.bound
        runbooks = Runbooks(*known, AgeSealer(), parts.keys.signer, recipients)
        made = Shelf(parts, runbooks, Journal(await parts.claimed(), parts.catalog, parts.clock))
        await made.describe()
        yield made


async def test_a_page_is_sealed_to_the_operator_and_signed_in_every_store(shelf: Shelf) -> None:
    await shelf.runbooks.renew_all(shelf.journal)

    for store in ("offsite", "shelf"):
        page = await shelf.page(store)
        assert page.text.startswith("# How to bring `my-crocbot` back by hand")
        shelf.parts.keys.signer.verify(page.signed, signature_hex=page.signature_hex, signer_hex=page.signer_hex)
    assert await shelf.steps() == [
        ("runbook renewed", '{"store": "offsite", "app": "my-crocbot"}'),
        ("runbook renewed", '{"store": "shelf", "app": "my-crocbot"}'),
    ]


async def test_a_page_is_rewritten_only_when_it_says_something_else(shelf: Shelf) -> None:
    await shelf.runbooks.renew_all(shelf.journal)
    for store in shelf.parts.stores.values():
        await store.delete(KEY)
    await shelf.runbooks.renew_all(shelf.journal)
    assert await shelf.parts.stores["offsite"].list("_runbooks/") == []

    await shelf.snapshot("vs_1", age=HOUR)
    await shelf.runbooks.renew([APP, APP], shelf.journal)

    assert "vs_1" in (await shelf.page()).text
    assert await shelf.names() == ["runbook renewed"] * 4


async def test_another_recipient_or_signer_makes_the_page_anew(shelf: Shelf) -> None:
    await shelf.runbooks.renew_all(shelf.journal)
    open_to_all = replace(shelf.runbooks, recipients=())
    await open_to_all.renew_all(shelf.journal)

    plain = await shelf.parts.stores["offsite"].get("_runbooks/my-crocbot.md.zst")
    assert read_page(AgeOpener().open(plain, identity=None)).text == (await shelf.page()).text


async def test_the_store_that_a_page_lies_in_comes_first_in_it(shelf: Shelf) -> None:
    for home, other in (("offsite", "shelf"), ("shelf", "offsite")):
        page = await shelf.runbooks.page(APP, home=home)
        assert page is not None
        blocks = list(command_blocks(page))
        assert blocks.index(f"store-{home}") < blocks.index(f"store-{other}")


async def test_snapshots_that_fly_has_let_go_are_not_offered(shelf: Shelf) -> None:
    await shelf.snapshot("vs_kept", age=4 * DAY)
    await shelf.snapshot("vs_gone", age=6 * DAY)
    await shelf.snapshot("vs_unsaid", age=59 * DAY, days=None)
    await shelf.snapshot("vs_long_gone", age=61 * DAY, days=None)
    await shelf.snapshot("vs_pending", age=HOUR, status="running")

    page = await shelf.runbooks.page(APP)

    assert page is not None
    assert [name for name in ("vs_kept", "vs_gone", "vs_unsaid", "vs_long_gone", "vs_pending") if name in page] == [
        "vs_kept",
        "vs_unsaid",
    ]


async def test_a_store_that_fails_leaves_the_other_its_page_and_is_remembered_until_it_has_its_own(
    shelf: Shelf,
) -> None:
    shelf.parts.stores["offsite"].fail_with(DOWN)
    began_at = shelf.parts.clock.now()
    await shelf.runbooks.renew_all(shelf.journal)
    await shelf.parts.clock.advance(HOUR)
    shelf.parts.stores["offsite"].fail_with(DOWN)
    await shelf.runbooks.renew_all(shelf.journal)

    assert (await shelf.page("shelf")).text
    (stale,) = await shelf.runbooks.stale()
    assert (stale.app, stale.store, stale.since_at) == (APP, "offsite", began_at)
    assert await shelf.names() == ["runbook not renewed", "runbook renewed", "runbook not renewed"]

    await shelf.runbooks.renew_all(shelf.journal)
    assert await shelf.runbooks.stale() == ()
    assert (await shelf.page("offsite")).text


async def test_what_could_not_be_renewed_is_a_finding_of_the_app_and_the_store(shelf: Shelf) -> None:
    shelf.parts.stores["offsite"].fail_with(DOWN)
    await shelf.runbooks.renew_all(shelf.journal)
    fine = OrgCompliance(org_subject("personal"), (), is_conclusive=True, is_inventory_complete=True)

    (finding,) = with_stale_runbooks(fine, await shelf.runbooks.stale()).findings
    assert (finding.code, finding.severity, finding.store) == (FindingCode.RUNBOOK_STALE, Severity.WARNING, "offsite")
    assert "The store does not answer." in finding.summary
    assert with_stale_runbooks(fine, ()) is fine


async def test_an_export_whose_runbook_cannot_be_written_has_succeeded_all_the_same(shelf: Shelf) -> None:
    parts = shelf.parts
    run = shelf.journal.run

    class Failing:
        async def run(self, work: object) -> object:
            outcome = await parts.export.run(work)  # type: ignore[arg-type]
            parts.stores["offsite"].fail_with(DOWN)
            return outcome

    outcome = await WithRunbook(Failing(), shelf.runbooks).run(parts.work(run))  # type: ignore[arg-type]

    assert outcome.state is RunState.SUCCEEDED
    names = [step.name for step in await parts.steps(run)]
    assert names[-2:] == ["runbook not renewed", "runbook renewed"]
    assert "fill-1-offsite" in command_blocks((await shelf.page("shelf")).text)


async def test_an_app_that_was_never_described_has_no_page(shelf: Shelf) -> None:
    assert await shelf.runbooks.page(AppName("other")) is None
    async with shelf.parts.catalog.transaction() as tx:
        await tx.save_description(SavedDescription(APP, None, "", shelf.parts.clock.now()))
    assert await shelf.runbooks.page(APP) is None
    await shelf.runbooks.renew_all(shelf.journal)
    assert await shelf.names() == []


async def test_the_page_of_an_ended_target_stays_and_that_of_an_erased_one_goes(shelf: Shelf) -> None:
    await shelf.describe(machines=(described_machine("m9", name="gone"),))
    await shelf.runbooks.renew_all(shelf.journal)
    await shelf.describe()
    await shelf.runbooks.renew_all(shelf.journal)
    assert len(await earlier(shelf)) == 1
    await shelf.end(is_erased=False)
    await shelf.runbooks.renew_all(shelf.journal)
    assert (await shelf.page()).text

    await shelf.end(is_erased=True)
    shelf.parts.stores["shelf"].fail_with(DOWN)
    await shelf.runbooks.renew_all(shelf.journal)
    await shelf.runbooks.renew_all(shelf.journal)
    await shelf.runbooks.renew_all(shelf.journal)

    for store in shelf.parts.stores.values():
        assert await store.list("_runbooks/") == []
    assert (await shelf.names())[4:] == ["runbook removed", "runbook not removed", "runbook removed"]


async def earlier(shelf: Shelf) -> list[str]:
    return [found.key for found in await shelf.parts.stores["offsite"].list("_runbooks/my-crocbot/")]


async def test_an_app_that_is_half_rebuilt_does_not_take_the_page_by_which_it_is_rebuilt(shelf: Shelf) -> None:
    await shelf.runbooks.renew_all(shelf.journal)
    whole = await shelf.parts.stores["offsite"].get(KEY)
    for name in ("recovery-helper-1", "name-of-m1"):
        await shelf.describe(machines=(described_machine("m9", name=name),))
        await shelf.runbooks.renew_all(shelf.journal)

    (kept,) = await earlier(shelf)
    assert kept == f"_runbooks/my-crocbot/{shelf.parts.clock.now():%Y-%m-%d}.md.zst.age"
    assert await shelf.parts.stores["offsite"].get(kept) == whole
    assert "--name name-of-m1" in command_blocks((await shelf.page()).text)["machine-1"]


async def test_a_catalog_that_was_lost_does_not_take_the_page_either(shelf: Shelf) -> None:
    await shelf.parts.stores["offsite"].put(KEY, b"the page of an earlier daemon")
    await shelf.runbooks.renew_all(shelf.journal)

    (kept,) = await earlier(shelf)
    assert await shelf.parts.stores["offsite"].get(kept) == b"the page of an earlier daemon"


async def test_more_machines_or_other_backups_leave_no_earlier_page(shelf: Shelf) -> None:
    await shelf.runbooks.renew_all(shelf.journal)
    await shelf.describe(machines=(described_machine(), described_machine("m2")))
    await shelf.runbooks.renew_all(shelf.journal)

    assert "name-of-m2" in (await shelf.page()).text
    assert await earlier(shelf) == []


async def test_a_page_that_cannot_be_kept_is_not_replaced(shelf: Shelf) -> None:
    await shelf.runbooks.renew_all(shelf.journal)
    whole = await shelf.parts.stores["offsite"].get(KEY)
    await shelf.describe(machines=())
    shelf.parts.stores["offsite"].fail_with(DOWN)
    await shelf.runbooks.renew_all(shelf.journal)

    assert await shelf.parts.stores["offsite"].get(KEY) == whole
    assert [stale.store for stale in await shelf.runbooks.stale()] == ["offsite"]


def test_a_volumes_own_lineage_comes_before_those_that_have_lost_theirs() -> None:
    volumes = (described_volume("vol_2"), described_volume("vol_3"))
    own = lineage("own", volume_ids=(VolumeId("vol_1"), VolumeId("vol_2")))
    twin = lineage("twin", volume_ids=(VolumeId("vol_3"),))
    old = lineage("old", volume_ids=(VolumeId("vol_0"),), last_seen_at=own.last_seen_at - DAY)
    older = lineage("older", volume_ids=(VolumeId("vol_00"),), last_seen_at=own.last_seen_at - 2 * DAY)

    found = lineages_of(volumes[0], volumes, [older, twin, old, own])

    assert [each.id for each in found] == ["own", "old", "older"]


async def test_a_rebuilt_app_shows_the_backups_of_the_volume_it_has_lost(shelf: Shelf) -> None:
    await shelf.snapshot("vs_old", age=HOUR)
    async with shelf.parts.catalog.transaction() as tx:
        await tx.save_lineage(lineage("lin_2", volume_ids=(VolumeId("vol_9"),)))
    await shelf.describe(volumes=(described_volume("vol_9"),))

    page = await shelf.runbooks.page(APP)

    assert page is not None
    assert "--snapshot-id vs_old" in command_blocks(page)["volume-1-from-snapshot"]


@pytest.mark.parametrize(
    ("changes", "place", "region"),
    [
        ({"endpoint": "https://x.r2.example/", "prefix": "fly/"}, "https://x.r2.example/acme/fly", "auto"),
        ({"region": "eu-central-1"}, "https://s3.eu-central-1.amazonaws.com/acme", "eu-central-1"),
        ({"is_path_style": False}, "https://acme.s3.us-east-1.amazonaws.com", "us-east-1"),
        ({"endpoint": "https://acme.s3.example", "is_path_style": False}, "https://acme.s3.example", "auto"),
    ],
)
def test_a_bucket_is_reached_by_its_url(changes: dict[str, object], place: str, region: str) -> None:
    order = replace(StoreOrder("offsite", StoreType.S3, bucket="acme", secret_access_key="never"), **changes)  # type: ignore[arg-type]

    assert door_of(order) == StoreDoor("offsite", place, region)


@pytest.mark.parametrize(("prefix", "place"), [("", "/mnt/store"), ("/fly/", "/mnt/store/fly")])
def test_a_directory_store_is_reached_by_its_path(prefix: str, place: str) -> None:
    door = door_of(StoreOrder("shelf", StoreType.DIRECTORY, path="/mnt/store/", prefix=prefix))

    assert (door.place, door.is_folder) == (place, True)

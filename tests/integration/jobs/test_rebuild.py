"""The catalog again, from the stores: everything a trusted key signed, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pyrage.x25519 import Identity

from flykeep.adapters.codecs.keys import StateKeys
from flykeep.adapters.codecs.sealing import AgeOpener, AgeSealer
from flykeep.adapters.db.engine import open_catalog
from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.domain import layout
from flykeep.domain.errors import ConfigError, StoreNotFoundError, StoreUnavailableError
from flykeep.domain.ids import ExportId, LineageId
from flykeep.jobs.rebuild import RebuildJob, RebuildReport
from flykeep.jobs.settle import Settler
from flykeep.jobs.statefile import StateWriter
from flykeep.ports.catalog import RecordedSnapshot
from flykeep.ports.crypto import Signer
from flykeep.testing.stores import MemoryStore
from tests.databases import place_empty_database
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.test_altered_artifacts import KEY, Kept, described, written
from tests.integration.jobs.test_altered_artifacts import kept as kept_artifact
from tests.integration.worker.artifacts import OPERATOR, PREFIX, folder, made, member
from tests.unit.domain.builders import snapshot

kept = kept_artifact
CONFIG = '{"guest": {"cpus": 1}}'


@dataclass
class Lost:
    """A store that outlived its catalog, and the new, empty one."""

    kept: Kept
    fresh: Parts
    others: dict[str, Any]

    def job(self, *, identity: str | None = None) -> RebuildJob:
        stores = {"shelf": ObjectStore(self.kept.made.order.store)} | self.others
        settler = Settler(self.fresh.catalog, self.fresh.clock, self.kept.parts.keys.signer)
        return RebuildJob(self.fresh.catalog, self.fresh.clock, stores, settler, AgeOpener(), lambda: identity)

    async def rebuilt(self, *, identity: str | None = str(OPERATOR)) -> RebuildReport:
        return await self.job().rebuild(["shelf", *self.others], identity=identity)

    async def write_state(self, *, signer: Signer | None = None, recipients: tuple[str, ...] | None = None) -> None:
        to = (str(OPERATOR.to_public()),) if recipients is None else recipients
        store = ObjectStore(self.kept.made.order.store)
        await StateWriter(
            self.kept.parts.catalog, {"shelf": store}, AgeSealer(), signer or self.kept.parts.keys.signer, to, "acme"
        ).write()


@pytest.fixture
async def lost(kept: Kept, tmp_path: Path) -> AsyncIterator[Lost]:
    lineage = kept.parts.lineage
    said = replace(kept.artifact.manifest, origin=replace(kept.artifact.manifest.origin, lineage_id=lineage.id))
    written(kept.made.root, said, kept.parts.keys.signer)
    kept.artifact = replace(kept.artifact, manifest=said)
    assert lineage.machine_id is not None
    row = RecordedSnapshot(lineage.id, lineage.volume_id, lineage.app, snapshot("vs_1"), kept.parts.clock.now())
    async with kept.parts.catalog.transaction() as tx:
        await tx.record_snapshot(row)
        await tx.save_machine_config(
            lineage.machine_id, lineage_id=lineage.id, config_json=CONFIG, now=kept.parts.clock.now()
        )
    url = f"sqlite+aiosqlite:///{tmp_path / 'fresh.db'}"
    place_empty_database(tmp_path / "fresh.db")
    async with open_catalog(url) as catalog:
        yield Lost(kept, replace(kept.parts, catalog=catalog), {})


async def test_an_empty_catalog_learns_artifacts_lineages_and_configurations_and_a_second_time_nothing(
    lost: Lost,
) -> None:
    await lost.write_state()
    report = await lost.rebuilt()
    lineage = lost.kept.parts.lineage
    async with lost.fresh.catalog.transaction() as tx:
        (artifact,) = await tx.artifacts(lineage.id)
        assert await tx.machine_config(lineage.id) == CONFIG
        assert [row.snapshot.id for row in await tx.recorded_snapshots(lineage.id)] == ["vs_1"]
        assert [(one.id, one.volume_ids) for one in await tx.lineages()] == [(lineage.id, lineage.volume_ids)]
    assert (artifact.manifest, artifact.manifest_key) == (lost.kept.artifact.manifest, KEY)
    assert (report.is_whole, report.stores[0].restored, report.stores[0].state) == (True, 1, "read")
    again = await lost.rebuilt()
    assert (again.stores[0].restored, again.stores[0].known, again.lineages) == (0, 1, ())
    lost.kept.parts = lost.fresh
    await lost.kept.job.verify(artifact, level="contents")


async def test_without_an_identity_lineages_come_from_the_manifests(lost: Lost) -> None:
    await lost.write_state()
    report = await lost.rebuilt(identity=None)
    assert report.stores[0].state.startswith("not opened")
    assert report.lineages == ("my-crocbot/crocbot_data",)
    async with lost.fresh.catalog.transaction() as tx:
        assert len(await tx.artifacts(lost.kept.parts.lineage.id)) == 1


async def test_a_state_document_in_the_clear_needs_no_identity(lost: Lost) -> None:
    await lost.write_state(recipients=())
    assert (await lost.rebuilt(identity=None)).stores[0].state == "read"


async def test_what_a_holder_of_the_bucket_wrote_is_refused_with_its_reason(lost: Lost, tmp_path: Path) -> None:
    forger = StateKeys.load_or_create(tmp_path / "forger").signer
    await lost.write_state(signer=forger)
    forged = "my-crocbot/crocbot_data/2026/X2"
    lost.kept.path(forged).mkdir()
    said = replace(described(lost.kept.made), export_id=ExportId("X2"))
    written(lost.kept.made.root, said, forger, key=layout.manifest_key(forged))
    copied = "my-crocbot/crocbot_data/2026/X3"
    lost.kept.path(copied).mkdir()
    lost.kept.path(layout.manifest_key(copied)).write_bytes(lost.kept.path(KEY).read_bytes())

    report = await lost.rebuilt()

    reasons = {refused.key: refused.reason for refused in report.stores[0].refused}
    assert reasons.keys() == {layout.manifest_key(forged), layout.manifest_key(copied), layout.STATE_KEY}
    assert "does not trust" in reasons[layout.manifest_key(forged)]
    assert "signed for another artifact" in reasons[layout.manifest_key(copied)]
    assert (report.stores[0].state, report.is_whole) == ("refused", False)
    async with lost.fresh.catalog.transaction() as tx:
        assert [one.export_id for one in await tx.artifacts()] == ["X1"]
        assert await tx.machine_config(lost.kept.parts.lineage.id) is None


@pytest.mark.parametrize("document", [b"", b"age-encryption.org/v1\nnonsense"])
async def test_a_spoilt_state_document_is_refused(lost: Lost, document: bytes) -> None:
    lost.kept.path("_state").mkdir()
    lost.kept.path(layout.STATE_KEY).write_bytes(document)
    assert (await lost.rebuilt()).stores[0].state == "refused"


async def test_an_artifact_that_lacks_an_object_is_known_and_counts_for_nothing(lost: Lost) -> None:
    lost.kept.path(lost.kept.made.order.objects[0].key).unlink()
    report = await lost.rebuilt()
    assert [refused.reason for refused in report.stores[0].refused] == ["Objects of it are missing or of another size."]
    async with lost.fresh.catalog.transaction() as tx:
        assert [one.satisfies_rpo for one in await tx.artifacts()] == [False]


async def test_artifacts_join_the_lineage_that_a_daemon_without_its_catalog_began_for_the_volume(lost: Lost) -> None:
    begun = replace(lost.kept.parts.lineage, id=LineageId("begun"))
    async with lost.fresh.catalog.transaction() as tx:
        await tx.save_lineage(begun)
    await lost.write_state()
    assert (await lost.rebuilt()).lineages == ()
    async with lost.fresh.catalog.transaction() as tx:
        (artifact,) = await tx.artifacts(begun.id)
        await tx.record_artifact(replace(artifact, verified_at=lost.fresh.clock.now()))
        assert len(await tx.artifacts(begun.id)) == 1  # and stays there
        assert await tx.machine_config(begun.id) == CONFIG


async def test_what_the_catalog_knows_is_never_replaced(lost: Lost) -> None:
    await lost.rebuilt()
    other = made(lost.kept.made.root, [folder("."), member("crocbot.json", b"yesterday's")])
    written(lost.kept.made.root, described(other), lost.kept.parts.keys.signer)
    report = await lost.rebuilt()
    assert [refused.key for refused in report.stores[0].refused] == [KEY]
    async with lost.fresh.catalog.transaction() as tx:
        assert [one.manifest for one in await tx.artifacts()] == [lost.kept.artifact.manifest]


async def test_a_store_that_does_not_answer_is_told_and_does_not_stop_the_others(lost: Lost) -> None:
    silent = MemoryStore("silent")
    silent.fail_with(StoreUnavailableError("not now"))
    lost.others = {"silent": silent}
    report = await lost.rebuilt()
    assert [(one.store, one.restored, one.failure) for one in report.stores] == [
        ("shelf", 1, None),
        ("silent", 0, "not now"),
    ]
    silent.fail_with(StoreUnavailableError("not now"))
    with pytest.raises(StoreUnavailableError):
        await lost.job().rebuild(["silent"])
    with pytest.raises(ConfigError, match="no store is called"):
        await lost.job().rebuild(["nowhere"])


class Emptying(ObjectStore):
    """A store whose objects are gone when they are asked for."""

    async def get(self, key: str, *, limit_bytes: int = 0) -> bytes:
        raise StoreNotFoundError("gone", facts={"key": key})


async def test_an_artifact_that_is_removed_meanwhile_is_passed_over(lost: Lost) -> None:
    lost.others = {"emptying": Emptying(replace(lost.kept.made.order.store, name="emptying"))}
    report = await lost.rebuilt()
    assert (report.is_whole, [(one.restored, one.state) for one in report.stores]) == (
        True,
        [(1, "none there"), (0, "none there")],
    )


async def test_progress_is_told_and_what_is_no_manifest_is_passed_over(lost: Lost) -> None:
    lost.kept.path(f"{PREFIX}/notes.txt").write_bytes(b"mine")
    seen: list[tuple[str, int, int]] = []
    await lost.job(identity=str(OPERATOR)).rebuild(["shelf"], on_progress=lambda *now: seen.append(now))
    assert seen == [("shelf", 1, 1)]


async def test_new_recipients_get_the_state_sealed_anew_though_nothing_else_changed(lost: Lost) -> None:
    stranger = Identity.generate()
    await lost.write_state(recipients=(str(stranger.to_public()),))
    await lost.write_state(recipients=(str(OPERATOR.to_public()),))

    (report,) = (await lost.rebuilt()).stores

    assert report.state == "read"

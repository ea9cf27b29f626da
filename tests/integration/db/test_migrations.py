"""The tables grow by migrations: all databases of one version are alike, and old ones open."""

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from flykeep.adapters.db import migrate
from flykeep.adapters.db.engine import open_catalog
from flykeep.adapters.db.tables import REVISION, metadata
from flykeep.domain.errors import StateError
from flykeep.domain.findings import Verdict
from flykeep.domain.ids import ExportId, LineageId, OwnerId, RunId, SnapshotId
from flykeep.domain.run import RunState
from flykeep.ports.catalog import Pause
from flykeep.testing.contracts.catalog_samples import (
    LINEAGE,
    NOON,
    ODD_INSTANT,
    ODD_TEXT,
    a_description,
    a_message,
    a_proof,
    a_snapshot,
    a_verdict,
    after,
    an_artifact,
    an_incident,
    an_odd_run,
)

OLD_DATABASES = Path(__file__).resolve().parents[2] / "data" / "databases"


def shape_of(connection: Connection) -> dict[str, Any]:
    """Everything a database tells about its tables, in a comparable form."""
    found = inspect(connection)
    return {
        table: {
            "columns": [
                (c["name"], str(c["type"]), c["nullable"], str(c["default"])) for c in found.get_columns(table)
            ],
            "key": found.get_pk_constraint(table),
            "unique": sorted(map(str, found.get_unique_constraints(table))),
            "foreign": sorted(map(str, found.get_foreign_keys(table))),
            "indexes": sorted(
                (i["name"], i["column_names"], bool(i["unique"]), sorted(_where(i).items()))
                for i in found.get_indexes(table)
            ),
        }
        for table in sorted(found.get_table_names())
        if table != "alembic_version"
    }


def _where(index: Any) -> dict[str, str]:
    return {name: str(value) for name, value in index.get("dialect_options", {}).items() if name.endswith("_where")}


async def test_a_migrated_database_equals_one_made_from_the_tables(state_url: str) -> None:
    async with open_catalog(state_url) as catalog, catalog._connection() as connection:
        migrated = await connection.run_sync(shape_of)
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), metadata)
        )
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        fresh = await connection.run_sync(shape_of)

    assert migrated == fresh
    assert set(migrated) == set(metadata.tables)
    assert differences == []


def test_the_newest_migration_is_the_revision_of_the_tables() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))

    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


async def test_a_database_of_a_newer_flykeep_is_refused_and_left_alone(state_url: str) -> None:
    async with open_catalog(state_url) as catalog, catalog._connection() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await connection.commit()

    with pytest.raises(StateError, match="version 9999") as refused:
        async with open_catalog(state_url):
            pass

    assert "newer" in refused.value.next_step


async def test_a_migration_that_fails_leaves_nothing_behind(state_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power may go at any moment; the next start must find either the old tables or the new ones."""

    def power_cut(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("alembic.operations.Operations.create_index", power_cut)
        with pytest.raises(RuntimeError, match="power cut"):
            async with open_catalog(state_url):
                pass

    async with open_catalog(state_url) as catalog:
        await catalog.ping()


@pytest.mark.parametrize("path", sorted(OLD_DATABASES.glob("*.sqlite")), ids=lambda path: path.stem)
async def test_a_database_of_every_earlier_version_opens_with_all_it_held(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "state.db"
    shutil.copyfile(path, copy)

    async with open_catalog(f"sqlite:///{copy}") as catalog, catalog.transaction() as tx:
        run = await tx.run(RunId("old-run"))
        assert run is not None
        assert run.request == an_odd_run("old-run").request
        assert (run.state, run.owner_id, run.requested_at) == (RunState.RUNNING, OwnerId("old-owner"), ODD_INSTANT)
        assert [(step.name, step.detail) for step in await tx.steps(run.id)] == [("upload", ODD_TEXT)]
        assert await tx.recorded_snapshot(SnapshotId("vs_1")) == a_snapshot("vs_1", run_id="old-run")
        assert await tx.artifact(ExportId("01")) == (an_artifact("01"),)
        assert [pin.reason for pin in await tx.pins()] == ([ODD_TEXT] if path.stem >= "version-0003" else [])
        assert await tx.proofs(LINEAGE) == ((a_proof("p1"),) if path.stem >= "version-0004" else ())
        assert [lineage.id for lineage in await tx.lineages()] == [LINEAGE]
        assert await tx.machine_config(LINEAGE) == '{"image":"x"}'
        kept = [saved.description for saved in await tx.descriptions()]
        assert kept == ([a_description("my-crocbot")] if path.stem >= "version-0005" else [])
        assert await tx.pauses(now=NOON) == (Pause(LINEAGE, None, ODD_TEXT, NOON),)
        assert await tx.verdicts() == (a_verdict(verdict=Verdict.UNHEALTHY),)
        assert await tx.fly_seen_at() == ODD_INSTANT
        assert await tx.incidents() == (an_incident("i1"),)
        (delivery,) = await tx.due_deliveries(now=after(6))
        assert (delivery.message, delivery.attempts, delivery.last_error) == (a_message("m1"), 1, ODD_TEXT)
        assert not await tx.claim(RunId("old-run"), owner_id=OwnerId("new"), now=NOON)
        assert (await tx.newest_slots())[run.kind, LineageId(run.lineage_id)].scheduled_at == NOON

    with sqlite3.connect(copy) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_contents_that_were_verified_before_there_was_a_column_stay_verified(tmp_path: Path) -> None:
    copy = tmp_path / "state.db"
    shutil.copyfile(OLD_DATABASES / "version-0005.sqlite", copy)
    with sqlite3.connect(copy) as connection:
        connection.execute("UPDATE artifacts SET verified_level = 'contents', verified_at = recorded_at")
    connection.close()

    async with open_catalog(f"sqlite:///{copy}") as catalog, catalog.transaction() as tx:
        (known,) = await tx.artifact(ExportId("01"))
        assert known.contents_verified_at == known.verified_at == an_artifact("01").recorded_at


def test_there_is_a_database_of_this_version_to_keep() -> None:
    assert (OLD_DATABASES / f"version-{REVISION}.sqlite").is_file()

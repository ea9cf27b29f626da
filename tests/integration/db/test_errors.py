"""What goes wrong with a database is a StateError that says what to do and never shows a password."""

import sqlite3
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from flykeep.adapters.db import engine
from flykeep.adapters.db.engine import open_catalog
from flykeep.adapters.db.owners import open_owners
from flykeep.adapters.db.urls import database_of
from flykeep.domain.errors import ConfigError, FlykeepError, StateError
from flykeep.domain.ids import OwnerId, RunId
from flykeep.domain.run import RunRequest
from flykeep.testing.contracts.catalog_samples import a_run
from tests.postgres import PostgresServer

PASSWORD = "hunter2-planted-secret"


async def open_once(url: str) -> FlykeepError:
    with pytest.raises(FlykeepError) as raised:
        async with open_catalog(url):
            pass
    return raised.value


async def test_a_full_disk_says_so_and_stores_nothing(tmp_path: Path) -> None:
    async with open_catalog(f"sqlite:///{tmp_path}/state.db") as catalog:
        event.listen(catalog._engine.sync_engine, "checkout", lambda raw, *_: raw.execute("PRAGMA max_page_count=1"))
        big = replace(a_run("1"), request=RunRequest(reason="x" * 1_000_000))

        with pytest.raises(StateError, match="full") as raised:
            async with catalog.transaction() as tx:
                await tx.add_run(big)

        assert "free space" in raised.value.next_step
        assert "xxx" not in "".join(traceback.format_exception(raised.value))
        async with catalog.transaction() as tx:
            assert await tx.run(RunId("1")) is None


async def test_a_database_held_by_another_process_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.db"
    async with open_catalog(f"sqlite:///{path}"):
        pass
    monkeypatch.setattr(engine, "_LOCK_WITHIN", engine._LOCK_WITHIN / 1000)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        async with open_catalog(f"sqlite:///{path}") as catalog:
            await catalog.ping()  # reading does not wait for writers
            with pytest.raises(StateError, match="locked") as raised:
                async with catalog.transaction():
                    pass
            other.execute("ROLLBACK")
            async with catalog.transaction() as tx:
                assert await tx.add_run(a_run("1"))
    finally:
        other.close()
    assert "Another process" in raised.value.next_step


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_text("dear diary " * 1000)

    error = await open_once(f"sqlite:///{path}")

    assert isinstance(error, StateError)
    assert "not a flykeep database" in error.next_step
    assert path.read_text().startswith("dear diary")


async def test_a_missing_folder_is_named_and_not_created(tmp_path: Path) -> None:
    error = await open_once(f"sqlite:///{tmp_path}/not-mounted/state.db")

    assert isinstance(error, StateError)
    assert str(tmp_path / "not-mounted") in str(error)
    assert not (tmp_path / "not-mounted").exists()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://u:p@h/d", "state.db", "", "sqlite:////a?mode=ro"]
)
async def test_what_is_neither_a_file_nor_postgresql_is_refused(url: str) -> None:
    assert isinstance(await open_once(url), ConfigError)


async def test_an_unreachable_server_says_so(tmp_path: Path) -> None:
    url = f"postgresql://flykeep:{PASSWORD}@127.0.0.1:1/flykeep"

    error = await open_once(url)
    with pytest.raises(StateError) as raised:
        async with open_owners(url, directory=tmp_path) as owners, owners.hold(OwnerId("a"), is_daemon=True):
            pass

    assert isinstance(error, StateError)
    for one in (error, raised.value):
        assert "reached" in one.next_step
        assert PASSWORD not in "".join(traceback.format_exception(one, limit=None))


@pytest.mark.parametrize("url", [f"postgresql://u:an@{PASSWORD}@h/x", f"post gres://u:{PASSWORD}@h:port/x"])
async def test_an_unreadable_url_is_not_quoted(url: str) -> None:
    error = await open_once(url)

    assert isinstance(error, ConfigError)
    assert PASSWORD not in "".join(traceback.format_exception(error))


async def test_a_server_that_restarts_is_found_again(postgres_server: PostgresServer, postgres_url: str) -> None:
    async with open_catalog(postgres_url) as catalog:

        async def meet_a_restart() -> None:
            async with catalog.transaction() as tx:
                await tx.add_run(a_run("1"))
                name = postgres_url.rpartition("/")[2]
                postgres_server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
                await tx.run(RunId("1"))

        with pytest.raises(StateError):
            await meet_a_restart()
        async with catalog.transaction() as tx:
            assert await tx.run(RunId("1")) is None
            assert await tx.add_run(a_run("1"))


async def test_a_database_held_by_another_host_says_so(
    postgres_server: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_catalog(postgres_url) as first, open_catalog(postgres_url) as second:
        short = ("SELECT set_config('lock_timeout', '20ms', true)", *second._database.begin[1:])
        monkeypatch.setattr(type(second._database), "begin", short)
        async with first.transaction():
            with pytest.raises(StateError, match="lock timeout") as raised:
                async with second.transaction():
                    pass
        async with second.transaction() as tx:
            assert await tx.add_run(a_run("1"))
    assert "Another process" in raised.value.next_step


def test_the_repr_of_a_database_shows_no_password() -> None:
    assert PASSWORD not in repr(database_of(f"postgresql://u:{PASSWORD}@h/x"))


async def test_sqlite_survives_a_power_cut_and_checks_references(tmp_path: Path) -> None:
    async with open_catalog(f"sqlite:///{tmp_path}/state.db") as catalog, catalog._connection() as connection:
        values = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000}

"""Locks at their edges: children, leftovers, lookers in a hurry, lost connections."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from flykeep.adapters.db.owners import FileOwners, open_owners
from flykeep.domain.errors import ConfigError, InternalError, StateError
from flykeep.domain.ids import OwnerId
from tests.full import full
from tests.integration.db.contenders import contenders, race
from tests.postgres import PostgresServer

OWNER = OwnerId("a" * 32)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_that_outlives_a_killed_daemon_does_not_keep_it_alive(tmp_path: Path) -> None:
    url, directory = f"sqlite:///{tmp_path}/state.db", tmp_path / "owners"
    owners = FileOwners(directory)
    with contenders(("hold_with_a_child", url, directory, OWNER)) as (one,):
        child = one.hear()
        try:
            assert await owners.is_daemon_alive()
            one.kill()

            assert is_running(child)
            assert not await owners.is_daemon_alive()
            assert not await owners.is_alive(OWNER)
        finally:
            os.kill(child, signal.SIGKILL)


async def test_the_file_of_a_killed_owner_is_removed_when_it_is_found_dead(tmp_path: Path) -> None:
    url, directory = f"sqlite:///{tmp_path}/state.db", tmp_path / "owners"
    with contenders(("hold", url, directory, OWNER, "verb")) as (one,):
        assert one.hear() == "ready"
        one.signal()
        assert one.hear() == "holds"
        one.kill()
    assert (directory / f"{OWNER}.lock").exists()

    assert not await FileOwners(directory).is_alive(OWNER)
    assert list(directory.iterdir()) == []


async def test_only_one_looker_at_a_time_removes_a_file(tmp_path: Path) -> None:
    """A slower one could remove the file of an owner that came between."""
    url, owners, path = f"sqlite:///{tmp_path}/state.db", FileOwners(tmp_path), tmp_path / f"{OWNER}.lock"
    path.touch()
    with contenders(("remove_slowly", url, path)) as (other,):
        assert other.hear() == "ready"

        assert not await owners.is_alive(OWNER)
        assert path.exists()

    assert not await owners.is_alive(OWNER)
    assert not path.exists()


async def test_an_owner_that_let_go_leaves_no_file(tmp_path: Path) -> None:
    owners = FileOwners(tmp_path)
    async with owners.hold(OWNER, is_daemon=True):
        assert names_in(tmp_path) == {f"{OWNER}.lock", "daemon.lock"}
    assert names_in(tmp_path) == {"daemon.lock"}


@full("four processes that look without a pause")
def test_lookers_never_disturb_those_who_come_and_go(tmp_path: Path) -> None:
    """Every holder finds itself alive, however many lookers sweep the same names meanwhile."""
    url, directory, rounds = f"sqlite:///{tmp_path}/state.db", tmp_path / "owners", 4000
    names = ",".join(f"{who}{number}" for who in ("x", "y") for number in range(3))

    said = race(
        ("come_and_go", url, directory, "x", rounds),
        ("come_and_go", url, directory, "y", rounds),
        ("look", url, directory, names, rounds),
        ("look", url, directory, names, rounds),
    )

    assert said == [0, 0, "looked", "looked"]


@pytest.mark.parametrize("owner", ["../escape", "", "daemon", "a/b"])
async def test_an_owner_id_is_never_a_path(owner: str, tmp_path: Path) -> None:
    with pytest.raises(InternalError):
        await FileOwners(tmp_path).is_alive(OwnerId(owner))


async def test_a_folder_that_cannot_hold_locks_is_named(tmp_path: Path) -> None:
    (tmp_path / "owners").write_text("a file, not a folder")

    with pytest.raises(StateError, match="owners"):
        async with FileOwners(tmp_path / "owners").hold(OWNER, is_daemon=False):
            pass


def test_owners_of_a_database_flykeep_cannot_use_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        open_owners("mysql://host/db", directory=tmp_path)


async def test_an_owner_whose_connection_is_lost_stops_at_once(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    """Its lock is free for others, so it must not go on."""

    async def work_for_ever() -> None:
        async with open_owners(postgres_url, directory=tmp_path) as owners, owners.hold(OWNER, is_daemon=True):
            await asyncio.to_thread(
                postgres_server.sql,
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted",
            )
            await asyncio.Event().wait()

    with pytest.raises(StateError, match="lost"):
        await work_for_ever()
    async with open_owners(postgres_url, directory=tmp_path) as owners, owners.hold(OWNER, is_daemon=True):
        assert await owners.is_alive(OWNER)


async def test_a_cancelled_owner_is_cancelled_and_lets_go(state_url: str, tmp_path: Path) -> None:
    holds = asyncio.Event()

    async with open_owners(state_url, directory=tmp_path) as owners:

        async def hold() -> None:
            async with owners.hold(OWNER, is_daemon=True):
                holds.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        await holds.wait()
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        assert not await owners.is_alive(OWNER)
        assert not await owners.is_daemon_alive()

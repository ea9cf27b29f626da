"""Several real processes on one state: two commands and a daemon never interleave."""

import asyncio
from pathlib import Path

import pytest

from flykeep.adapters.db.engine import open_catalog
from flykeep.adapters.db.owners import open_owners
from flykeep.domain.ids import LineageId, OwnerId, RunId
from flykeep.domain.run import RunState
from flykeep.ports.ownership import Owners
from flykeep.testing.contracts.catalog_samples import a_run
from tests.full import full
from tests.integration.db.contenders import contenders, race

KINDS = ["sqlite", pytest.param("postgresql", marks=full("claims are tried on both"))]
on_sqlite_first = pytest.mark.parametrize("migrated_url", KINDS, indirect=True)


async def test_of_two_processes_that_claim_one_run_exactly_one_wins(migrated_url: str) -> None:
    count = 40
    async with open_catalog(migrated_url) as catalog, catalog.transaction() as tx:
        for number in range(count):
            await tx.add_run(a_run(str(number), lineage_id=LineageId(f"l{number}")))

    one, two = race(("claim_all", migrated_url, "one", count), ("claim_all", migrated_url, "two", count))

    assert sorted([*one, *two]) == list(range(count))
    async with open_catalog(migrated_url) as catalog, catalog.transaction() as tx:
        owners = {int(run.id): run.owner_id for run in await tx.runs()}
    assert owners == dict.fromkeys(one, "one") | dict.fromkeys(two, "two")


@on_sqlite_first
async def test_two_processes_never_run_two_runs_of_one_lineage(migrated_url: str) -> None:
    async with open_catalog(migrated_url) as catalog, catalog.transaction() as tx:
        for number in range(20):
            await tx.add_run(a_run(str(number), lineage_id=LineageId(f"l{number % 2}")))

    one, two = race(("claim_next", migrated_url, "one", 20), ("claim_next", migrated_url, "two", 20))

    assert sorted([*one, *two]) == ["0", "1"]
    async with open_catalog(migrated_url) as catalog, catalog.transaction() as tx:
        running = [run for run in await tx.runs() if run.state is RunState.RUNNING]
    assert sorted(run.lineage_id for run in running) == ["l0", "l1"]


@on_sqlite_first
async def test_a_slot_that_two_processes_find_due_becomes_one_run(migrated_url: str) -> None:
    one, two = race(("add_slots", migrated_url, "one", 30), ("add_slots", migrated_url, "two", 30))

    assert sorted([*one, *two]) == list(range(30))


@pytest.mark.parametrize("state_url", KINDS, indirect=True)
async def test_processes_that_start_together_on_a_new_database_all_open_it(state_url: str) -> None:
    assert race(*[("open", state_url)] * 4) == ["opened"] * 4


async def test_a_process_killed_in_a_transaction_leaves_nothing_and_blocks_nobody(migrated_url: str) -> None:
    with contenders(("hang", migrated_url)) as (one,):
        assert one.hear() == "ready"
        one.kill()

        async with open_catalog(migrated_url) as catalog, catalog.transaction() as tx:
            assert await tx.run(RunId("half-made")) is None
            assert await tx.add_run(a_run("after"))


@on_sqlite_first
async def test_of_daemons_that_start_together_exactly_one_lives(migrated_url: str, tmp_path: Path) -> None:
    directory = tmp_path / "owners"

    said = race(*[("hold", migrated_url, directory, f"{number}" * 32, "daemon") for number in range(4)])

    assert sorted(said) == ["busy", "busy", "busy", "holds"]


@pytest.mark.parametrize("kind", ["daemon", "verb"])
async def test_a_killed_owner_is_dead_at_once(kind: str, migrated_url: str, tmp_path: Path) -> None:
    directory = tmp_path / "owners"
    owner = OwnerId("a" * 32)
    async with open_owners(migrated_url, directory=directory) as owners:
        with contenders(("hold", migrated_url, directory, owner, kind)) as (one,):
            assert one.hear() == "ready"
            one.signal()
            assert one.hear() == "holds"
            assert await owners.is_alive(owner)
            assert await owners.is_daemon_alive() == (kind == "daemon")

            one.kill()
            await until_dead(owners, owner)

        assert not await owners.is_daemon_alive()
        async with owners.hold(owner, is_daemon=True):
            assert await owners.is_alive(owner)


async def until_dead(owners: Owners, owner: OwnerId) -> None:
    """A server notices a killed client by its closed connection, a moment later."""
    while await owners.is_alive(owner) or await owners.is_daemon_alive():  # noqa: ASYNC110 - another process's end
        await asyncio.sleep(0.02)

"""What every catalog promises, as checks: `for check in CHECKS: await check(an_empty_catalog)`.

Here are transactions and the ledger of runs; `catalog_records` has the rest. A check raises AssertionError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from flykeep.domain.errors import FlykeepError, InternalError, StateError
from flykeep.domain.ids import LineageId, OwnerId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Failure, Outcome, Run, RunState, Step
from flykeep.ports.catalog import Catalog, NewestSlot
from flykeep.testing.contracts.catalog_merging import MERGE_CHECKS
from flykeep.testing.contracts.catalog_records import RECORD_CHECKS
from flykeep.testing.contracts.catalog_samples import (
    LINEAGE,
    NOON,
    ODD_INSTANT,
    ODD_TEXT,
    OTHER_LINEAGE,
    a_run,
    after,
    an_odd_run,
)

CatalogCheck = Callable[[Catalog], Awaitable[None]]

OWNER = OwnerId("owner")


async def refusal_of(work: Awaitable[object], kind: type[FlykeepError]) -> FlykeepError:
    """The error of this kind that `work` raises; AssertionError where it raises none."""
    try:
        await work
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


async def a_run_comes_back_as_it_went_in(catalog: Catalog) -> None:
    wanted = an_odd_run("1")
    async with catalog.transaction() as tx:
        assert await tx.add_run(wanted)
    async with catalog.transaction() as tx:
        found = await tx.run(wanted.id)
        missing = await tx.run(RunId("2"))

    assert found == wanted
    assert found is not None
    assert found.due_at.tzinfo is not None
    assert str(found.due_at.tzinfo) == "UTC"
    assert missing is None


async def what_is_raised_in_a_transaction_undoes_all_of_it(catalog: Catalog) -> None:
    class PowerCutError(Exception):
        pass

    try:
        async with catalog.transaction() as tx:
            await tx.add_run(a_run("1"))
            raise PowerCutError
    except PowerCutError:
        pass
    async with catalog.transaction() as tx:
        assert await tx.run(RunId("1")) is None


async def a_cancelled_transaction_undoes_all_of_it_and_lets_the_next_one_in(catalog: Catalog) -> None:
    begun = asyncio.Event()

    async def never_ends() -> None:
        async with catalog.transaction() as tx:
            await tx.add_run(a_run("1"))
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(never_ends())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    async with catalog.transaction() as tx:
        assert await tx.run(RunId("1")) is None


async def a_transaction_inside_another_is_refused_instead_of_waiting_for_itself(catalog: Catalog) -> None:
    async def nested() -> None:
        async with catalog.transaction(), catalog.transaction():
            pass

    await refusal_of(nested(), InternalError)
    async with catalog.transaction() as tx:
        assert await tx.add_run(a_run("1"))


async def transactions_of_many_tasks_take_turns(catalog: Catalog) -> None:
    inside = 0

    async def one(number: int) -> None:
        nonlocal inside
        async with catalog.transaction() as tx:
            inside += 1
            assert inside == 1
            await tx.add_run(a_run(str(number)))
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(one(number))
    async with catalog.transaction() as tx:
        assert len(await tx.runs()) == 20


async def an_instant_without_a_zone_is_refused(catalog: Catalog) -> None:
    naive = NOON.replace(tzinfo=None)

    async def add(run: Run) -> None:
        async with catalog.transaction() as tx:
            await tx.add_run(run)

    await refusal_of(add(a_run("1", due_at=naive)), InternalError)
    await refusal_of(add(a_run("1", slot_at=naive)), InternalError)
    async with catalog.transaction() as tx:
        assert await tx.run(RunId("1")) is None


async def a_slot_is_taken_once_per_kind_and_lineage(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        assert await tx.add_run(a_run("1", slot_at=NOON))
        assert not await tx.add_run(a_run("2", slot_at=NOON))
        assert await tx.add_run(a_run("3", slot_at=NOON, kind=JobKind.EXPORT))
        assert await tx.add_run(a_run("4", slot_at=NOON, lineage_id=OTHER_LINEAGE))
        assert await tx.add_run(a_run("5", slot_at=after(1)))
        assert not await tx.add_run(a_run("5", slot_at=after(1)))
        assert await tx.run(RunId("2")) is None
        assert {run.id for run in await tx.runs()} == {"1", "3", "4", "5"}


async def a_run_id_is_never_reused(catalog: Catalog) -> None:
    async def again() -> None:
        async with catalog.transaction() as tx:
            await tx.add_run(a_run("1", slot_at=after(1)))

    async with catalog.transaction() as tx:
        await tx.add_run(a_run("1", slot_at=NOON))
    await refusal_of(again(), StateError)


async def runs_are_listed_newest_first_and_filtered(catalog: Catalog) -> None:
    first = replace(a_run("1"), requested_at=after(1))
    second = replace(a_run("2", kind=JobKind.EXPORT), requested_at=after(2))
    third = replace(a_run("3", lineage_id=OTHER_LINEAGE), requested_at=after(3))
    async with catalog.transaction() as tx:
        for run in (second, first, third):
            await tx.add_run(run)
        await tx.finish(first.id, outcome=Outcome(RunState.CANCELLED), now=after(4))
        await tx.claim(second.id, owner_id=OWNER, now=after(4))

        assert [run.id for run in await tx.runs()] == ["3", "2", "1"]
        assert [run.id for run in await tx.runs(limit=2)] == ["3", "2"]
        assert [run.id for run in await tx.runs(lineage_id=LINEAGE)] == ["2", "1"]
        assert [run.id for run in await tx.runs(kind=JobKind.EXPORT)] == ["2"]
        assert [run.id for run in await tx.runs(is_open=True)] == ["3", "2"]
        assert [run.id for run in await tx.runs(is_open=False)] == ["1"]


async def a_claim_takes_a_pending_run_once(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.add_run(a_run("1"))
        assert await tx.claim(RunId("1"), owner_id=OWNER, now=ODD_INSTANT)
        assert not await tx.claim(RunId("1"), owner_id=OwnerId("thief"), now=after(5))
        assert not await tx.claim(RunId("unknown"), owner_id=OWNER, now=NOON)

        run = await tx.run(RunId("1"))
        assert run == replace(a_run("1"), state=RunState.RUNNING, owner_id=OWNER, started_at=ODD_INSTANT)


async def a_lineage_runs_one_run_at_a_time(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.add_run(a_run("1"))
        await tx.add_run(a_run("2", kind=JobKind.EXPORT))
        await tx.add_run(a_run("3", lineage_id=OTHER_LINEAGE))
        assert await tx.claim(RunId("1"), owner_id=OWNER, now=NOON)
        assert not await tx.claim(RunId("2"), owner_id=OWNER, now=NOON)
        assert await tx.claim(RunId("3"), owner_id=OWNER, now=NOON)

        await tx.finish(RunId("1"), outcome=Outcome(RunState.FAILED), now=NOON)
        assert await tx.claim(RunId("2"), owner_id=OWNER, now=NOON)


async def a_second_running_run_of_a_lineage_cannot_even_be_written(catalog: Catalog) -> None:
    async def add(run_id: str) -> None:
        async with catalog.transaction() as tx:
            await tx.add_run(a_run(run_id, state=RunState.RUNNING))

    await add("1")
    await refusal_of(add("2"), StateError)


async def a_run_set_aside_is_claimed_by_its_owner_only(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.add_run(replace(a_run("1"), owner_id=OWNER))
        assert await tx.claimable(now=after(9)) == ()
        assert not await tx.claim(RunId("1"), owner_id=OwnerId("thief"), now=NOON)
        assert await tx.claim(RunId("1"), owner_id=OWNER, now=NOON)


async def claimable_gives_each_free_lineage_its_longest_due_run(catalog: Catalog) -> None:
    busy = a_run("7", lineage_id=LineageId("busy"))
    async with catalog.transaction() as tx:
        for run in (
            a_run("1", due_at=after(-10)),
            a_run("2", due_at=after(-20)),
            a_run("3", due_at=after(1)),
            replace(a_run("0", due_at=after(-20)), requested_at=after(1)),
            a_run("5", lineage_id=OTHER_LINEAGE, due_at=after(-30)),
            busy,
            a_run("8", due_at=after(-60), lineage_id=busy.lineage_id),
        ):
            await tx.add_run(run)
        await tx.claim(busy.id, owner_id=OWNER, now=NOON)

        assert [run.id for run in await tx.claimable(now=NOON)] == ["5", "2"]
        assert [run.id for run in await tx.claimable(now=NOON, limit=1)] == ["5"]
        await tx.finish(RunId("2"), outcome=Outcome(RunState.SKIPPED), now=NOON)
        assert [run.id for run in await tx.claimable(now=NOON)] == ["5", "0"]
        assert await tx.claimable(now=after(-61)) == ()


async def what_is_final_stays_final(catalog: Catalog) -> None:
    failure = Failure(code="fly.error", message=ODD_TEXT, hint="h", exit_code=5, facts=(("request", "r"),))
    ended = Outcome(RunState.FAILED, result_json='{"a": 1}', failure=failure)
    async with catalog.transaction() as tx:
        await tx.add_run(a_run("1"))
        await tx.claim(RunId("1"), owner_id=OWNER, now=NOON)
        assert await tx.finish(RunId("1"), outcome=ended, now=ODD_INSTANT)
        before = await tx.run(RunId("1"))
        assert before is not None
        assert (before.state, before.outcome, before.ended_at) == (RunState.FAILED, ended, ODD_INSTANT)

        assert not await tx.finish(RunId("1"), outcome=Outcome(RunState.SUCCEEDED), now=after(9))
        assert not await tx.claim(RunId("1"), owner_id=OWNER, now=after(9))
        assert not await tx.finish(RunId("unknown"), outcome=Outcome(RunState.SUCCEEDED), now=NOON)
        assert await tx.run(RunId("1")) == before


async def a_run_cannot_end_in_a_state_that_is_not_an_end(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.add_run(a_run("1"))
        for state in (RunState.PENDING, RunState.RUNNING):
            await refusal_of(tx.finish(RunId("1"), outcome=Outcome(state), now=NOON), InternalError)
        assert await tx.run(RunId("1")) == a_run("1")


async def the_newest_slot_is_known_whatever_became_of_it(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.add_run(a_run("1"))  # by hand: no scheduled slot
        assert await tx.newest_slots() == {}
        await tx.add_run(a_run("2", slot_at=after(10), state=RunState.SKIPPED))
        await tx.add_run(a_run("3", slot_at=after(5)))
        await tx.add_run(a_run("4", slot_at=after(20), kind=JobKind.EXPORT))
        await tx.add_run(a_run("5", slot_at=after(30), lineage_id=OTHER_LINEAGE))
        assert await tx.newest_slots() == {
            (JobKind.SNAPSHOT, LINEAGE): NewestSlot(after(10), frozenset({RunState.SKIPPED})),
            (JobKind.EXPORT, LINEAGE): NewestSlot(after(20), frozenset({RunState.PENDING})),
            (JobKind.SNAPSHOT, OTHER_LINEAGE): NewestSlot(after(30), frozenset({RunState.PENDING})),
        }


async def every_attempt_at_the_newest_slot_shows_its_state(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.add_run(a_run("1", slot_at=after(5), state=RunState.INTERRUPTED))
        await tx.add_run(a_run("2", slot_at=after(10), state=RunState.FAILED))
        await tx.add_run(a_run("3", slot_at=after(10), attempt=2))
        states = frozenset({RunState.FAILED, RunState.PENDING})
        assert await tx.newest_slots() == {(JobKind.SNAPSHOT, LINEAGE): NewestSlot(after(10), states)}


async def steps_are_read_in_the_order_they_were_journalled(catalog: Catalog) -> None:
    steps = [Step(RunId("1"), number, name, ODD_INSTANT, ODD_TEXT) for number, name in ((2, "b"), (1, "a"), (3, "c"))]
    async with catalog.transaction() as tx:
        await tx.add_run(a_run("1"))
        await tx.add_run(a_run("2"))
        await tx.add_step(Step(RunId("2"), 1, "of another run", NOON))
        for step in steps:
            await tx.add_step(step)
    async with catalog.transaction() as tx:
        assert await tx.steps(RunId("1")) == tuple(steps)


async def a_step_belongs_to_a_run_that_exists(catalog: Catalog) -> None:
    async def add() -> None:
        async with catalog.transaction() as tx:
            await tx.add_step(Step(RunId("unknown"), 1, "a", NOON))

    await refusal_of(add(), StateError)


async def a_living_catalog_answers_a_ping_even_during_a_transaction(catalog: Catalog) -> None:
    async with catalog.transaction() as tx:
        await tx.add_run(a_run("1"))
        await catalog.ping()


CHECKS: tuple[CatalogCheck, ...] = (
    a_run_comes_back_as_it_went_in,
    what_is_raised_in_a_transaction_undoes_all_of_it,
    a_cancelled_transaction_undoes_all_of_it_and_lets_the_next_one_in,
    a_transaction_inside_another_is_refused_instead_of_waiting_for_itself,
    transactions_of_many_tasks_take_turns,
    an_instant_without_a_zone_is_refused,
    a_slot_is_taken_once_per_kind_and_lineage,
    a_run_id_is_never_reused,
    runs_are_listed_newest_first_and_filtered,
    a_claim_takes_a_pending_run_once,
    a_lineage_runs_one_run_at_a_time,
    a_second_running_run_of_a_lineage_cannot_even_be_written,
    a_run_set_aside_is_claimed_by_its_owner_only,
    claimable_gives_each_free_lineage_its_longest_due_run,
    what_is_final_stays_final,
    a_run_cannot_end_in_a_state_that_is_not_an_end,
    the_newest_slot_is_known_whatever_became_of_it,
    every_attempt_at_the_newest_slot_shows_its_state,
    steps_are_read_in_the_order_they_were_journalled,
    a_step_belongs_to_a_run_that_exists,
    a_living_catalog_answers_a_ping_even_during_a_transaction,
    *RECORD_CHECKS,
    *MERGE_CHECKS,
)

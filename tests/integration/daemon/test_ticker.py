"""Slots become runs: once each, the newest after an absence, none while paused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from flykeep.daemon.ticker import Ticker
from flykeep.domain.ids import LineageId, MachineId
from flykeep.domain.policy import (
    CopyRule,
    DrillRule,
    ExportRule,
    JobKind,
    KeepRule,
    Policy,
    Schedule,
    SnapshotRule,
    TargetRule,
)
from flykeep.domain.run import Outcome, Run, RunState
from flykeep.domain.target import ORG_LINEAGE, STORES_LINEAGE
from flykeep.ports.catalog import Pause
from tests.integration.jobs.parts import Parts
from tests.unit.domain.builders import lineage

DAY = timedelta(days=1)
POLICY = Policy(
    "standard",
    snapshot=SnapshotRule(schedule=Schedule("0 3 * * *")),
    export=ExportRule(schedule=Schedule("0 4 * * 0")),
    copies=(CopyRule("offsite"),),
)


@pytest.fixture
def ticker(parts: Parts) -> Ticker:
    rules = (TargetRule("my-crocbot/*", POLICY, instances="primary"),)
    check, reconcile = Schedule("*/15 * * * *"), Schedule("7 * * * *")
    return Ticker(parts.catalog, parts.clock, parts.ids, rules, check, reconcile, timedelta(0))


async def runs(parts: Parts, kind: JobKind) -> list[Run]:
    async with parts.catalog.transaction() as tx:
        return list(reversed(await tx.runs(kind=kind)))


async def finish(parts: Parts, run: Run, state: RunState) -> None:
    async with parts.catalog.transaction() as tx:
        await tx.finish(run.id, outcome=Outcome(state), now=parts.clock.now())


async def test_a_tick_makes_each_owed_run_once(parts: Parts, ticker: Ticker) -> None:
    assert await ticker.tick() == 4
    assert await ticker.tick() == 0
    (snapshot,) = await runs(parts, JobKind.SNAPSHOT)
    assert snapshot.slot.key == "2026-03-02T03:00:00Z"
    assert snapshot.state is RunState.PENDING


async def test_stores_are_verified_on_a_schedule_of_their_own_beside_checks(parts: Parts, ticker: Ticker) -> None:
    await ticker.tick()
    weekly = replace(ticker, verify_schedule=Schedule("30 3 * * *"))
    assert await weekly.tick() == 1
    assert await weekly.tick() == 0
    (run,) = await runs(parts, JobKind.VERIFY)
    assert (run.lineage_id, run.slot.key) == (STORES_LINEAGE, "2026-03-02T03:30:00Z")
    assert Schedule("30 3 * * *") in weekly.schedules()


async def test_after_an_absence_the_newest_slot_runs_and_the_others_are_on_record(parts: Parts, ticker: Ticker) -> None:
    await ticker.tick()
    await parts.clock.sleep(3 * DAY)
    await ticker.tick()
    found = [(run.slot.key[:10], run.state) for run in await runs(parts, JobKind.SNAPSHOT)]
    assert sorted(found) == [
        ("2026-03-02", RunState.PENDING),
        ("2026-03-03", RunState.SKIPPED),
        ("2026-03-04", RunState.SKIPPED),
        ("2026-03-05", RunState.PENDING),
    ]


async def test_a_slot_that_comes_while_paused_is_skipped_with_the_reason(parts: Parts, ticker: Ticker) -> None:
    async with parts.catalog.transaction() as tx:
        await tx.pause(Pause(parts.lineage.id, None, "migration", parts.clock.now()))
    await ticker.tick()
    (snapshot,) = await runs(parts, JobKind.SNAPSHOT)
    assert snapshot.state is RunState.SKIPPED
    assert (await parts.steps(snapshot))[0].detail == "paused: migration"
    assert await ticker.tick() == 0


async def test_an_interrupted_slot_is_tried_again_with_a_row_of_its_own(parts: Parts, ticker: Ticker) -> None:
    await ticker.tick()
    (snapshot,) = await runs(parts, JobKind.SNAPSHOT)
    await finish(parts, snapshot, RunState.INTERRUPTED)
    assert await ticker.tick() == 1
    again = (await runs(parts, JobKind.SNAPSHOT))[-1]
    assert again.slot.key == "2026-03-02T03:00:00Z~2"
    await finish(parts, again, RunState.SUCCEEDED)
    assert await ticker.tick() == 0


async def test_where_volumes_hold_the_same_data_only_the_first_is_exported(parts: Parts, ticker: Ticker) -> None:
    async with parts.catalog.transaction() as tx:
        await tx.save_lineage(lineage("lin_2", machine_id=MachineId("m2"), machine_name="two"))
        await tx.save_lineage(replace(lineage("lin_3"), app="stray", machine_id=MachineId("m3")))  # type: ignore[arg-type]
    await ticker.tick()
    assert {run.lineage_id for run in await runs(parts, JobKind.SNAPSHOT)} == {
        parts.lineage.id,
        LineageId("lin_2"),
    }
    assert [run.lineage_id for run in await runs(parts, JobKind.EXPORT)] == [parts.lineage.id]


async def test_slots_of_a_lineage_start_a_little_later_always_the_same(parts: Parts, ticker: Ticker) -> None:
    await parts.clock.sleep(DAY - timedelta(hours=9))  # exactly the slot
    await replace(ticker, jitter_window=timedelta(hours=1)).tick()
    (snapshot,) = await runs(parts, JobKind.SNAPSHOT)
    wait = snapshot.due_at - parts.clock.now()
    assert timedelta(0) < wait < timedelta(hours=1)


def test_the_daemon_wakes_for_every_schedule_there_is(ticker: Ticker) -> None:
    assert {schedule.cron for schedule in ticker.schedules()} == {
        "*/15 * * * *",
        "7 * * * *",
        "0 3 * * *",
        "0 4 * * 0",
    }


async def test_retention_has_a_slot_where_a_copy_has_a_keep_rule_and_nowhere_else(parts: Parts, ticker: Ticker) -> None:
    daily, ruled = Schedule("20 2 * * *"), CopyRule("offsite", KeepRule(last=2))
    without = replace(ticker, prune_schedule=daily)
    await without.tick()
    assert await runs(parts, JobKind.PRUNE) == []
    assert daily not in without.schedules()

    with_rule = replace(without, rules=(TargetRule("my-crocbot/*", replace(POLICY, copies=(ruled,))),))
    assert [await with_rule.tick(), await with_rule.tick()] == [1, 0]

    (run,) = await runs(parts, JobKind.PRUNE)
    assert (run.lineage_id, run.slot.key) == (ORG_LINEAGE, "2026-03-02T02:20:00Z")
    assert daily in with_rule.schedules()


async def test_drills_come_due_where_they_can_run_and_for_the_first_of_volumes_with_the_same_data_only(
    parts: Parts, ticker: Ticker
) -> None:
    monthly = Schedule("0 5 1 * *")
    rules = tuple(replace(rule, policy=replace(POLICY, drill=DrillRule(schedule=monthly))) for rule in ticker.rules)
    twin = lineage("lin_2", machine_id=MachineId("m2"), machine_name="later", first_seen_at=parts.lineage.first_seen_at)
    async with parts.catalog.transaction() as tx:
        await tx.save_lineage(twin)
    wishing = replace(ticker, rules=rules)
    await wishing.tick()
    assert monthly not in wishing.schedules()
    assert await runs(parts, JobKind.DRILL) == []
    able = replace(wishing, can_drill=True)
    await able.tick()
    assert monthly in able.schedules()
    (run,) = await runs(parts, JobKind.DRILL)
    assert (run.lineage_id, run.slot.key) == (parts.lineage.id, "2026-03-01T05:00:00Z")

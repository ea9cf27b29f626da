"""The care of a volume as a job: what it does, what it refuses, and what it says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flykeep.domain.cleaning import rule_texts
from flykeep.domain.errors import FlyUnavailableError, FlyUnexpectedAnswerError, RefusalError, UsageError
from flykeep.domain.fly import HostStatus, MachineCheck
from flykeep.domain.policy import CleanRule, JobKind
from flykeep.domain.run import Outcome, Run, RunRequest, RunState
from flykeep.ports.cleaning import Kept
from tests.integration.jobs.parts import Parts
from tests.integration.jobs.volume_world import VolumeParts
from tests.unit.domain.builders import NOW, snapshot

UNKNOWN = FlyUnavailableError("no answer")
RULES = (CleanRule("agents/*/sessions/*.jsonl", timedelta(days=30)), CleanRule("logs/**", timedelta(days=7)))


@pytest.fixture
def made(parts: Parts) -> VolumeParts:
    parts.rule = replace(parts.rule, clean=RULES)
    return VolumeParts(parts)


async def done(made: VolumeParts, **request: Any) -> tuple[RunState, dict[str, Any], Run]:
    run = await made.parts.claimed(kind=JobKind.VOLUME, request=RunRequest(**request))
    outcome = Outcome(RunState.FAILED)
    try:
        outcome = await made.job.run(made.parts.work(run))
    finally:
        async with made.parts.catalog.transaction() as tx:
            await tx.finish(run.id, outcome=outcome, now=made.parts.clock.now())
    return outcome.state, json.loads(outcome.result_json), run


async def clean(made: VolumeParts, **request: Any) -> tuple[RunState, dict[str, Any]]:
    shown = rule_texts(made.parts.rule)
    state, result, _ = await done(made, **({"volume_act": "clean", "paths": shown} | request))
    return state, result


async def extend(made: VolumeParts, size_gb: int | None, *, restart: bool = False) -> tuple[RunState, dict[str, Any]]:
    state, result, _ = await done(made, volume_act="extend", size_gb=size_gb, is_restarting=restart)
    return state, result


async def test_what_a_run_does_is_named_in_its_request(made: VolumeParts) -> None:
    for act in (None, "shrink"):
        with pytest.raises(UsageError):
            await done(made, volume_act=act)


class TestClean:
    async def test_a_dry_run_needs_no_snapshot_and_removes_nothing(self, made: VolumeParts) -> None:
        state, result = await clean(made)

        (order,) = made.cleaner.orders
        assert not order.is_applied
        assert [(wish.glob, int(NOW.timestamp()) - wish.until_s) for wish in order.wishes] == [
            ("agents/*/sessions/*.jsonl", 30 * 86_400),
            ("logs/**", 7 * 86_400),
        ]
        assert (state, result["applied"], result["removed"]) == (RunState.SUCCEEDED, False, 0)
        assert result["rules"][0]["sample"] == ["a/\\xff"]
        assert result["rules"][0]["oldest_at"] == "2023-11-14T22:13:20Z"
        assert made.fly.requests == 0

    @pytest.mark.parametrize(
        "rows",
        [
            (),
            (snapshot(age=timedelta(minutes=61)),),
            (snapshot(age=timedelta(minutes=5), status="running"),),
            (snapshot(age=timedelta(minutes=5), status="failed"), snapshot(age=timedelta(days=1))),
        ],
    )
    async def test_nothing_goes_without_a_finished_snapshot_of_the_last_hour(
        self, made: VolumeParts, rows: Any
    ) -> None:
        made.fly.rows = list(rows)
        with pytest.raises(RefusalError, match="without a snapshot of the last hour") as refused:
            await clean(made, is_applied=True)
        assert made.cleaner.orders == []
        assert "flykeep snapshot my-crocbot/crocbot_data" in refused.value.next_step

    async def test_a_young_snapshot_is_named_as_what_holds_the_files(self, made: VolumeParts) -> None:
        made.fly.rows = [snapshot("vs_old", age=timedelta(days=1)), snapshot("vs_young", age=timedelta(minutes=59))]

        state, result = await clean(made, is_applied=True)

        assert (state, result["snapshot_id"], result["removed"], result["freed_bytes"]) == (
            RunState.SUCCEEDED,
            "vs_young",
            2,
            20,
        )

    async def test_one_is_taken_first_where_that_is_asked_for(self, made: VolumeParts) -> None:
        made.fly.rows = [snapshot("vs_old", age=timedelta(days=1))]

        _, result = await clean(made, is_applied=True, is_snapshot_first=True)

        assert (made.fly.requests, result["snapshot_id"], result["removed"]) == (1, "vs_new1", 2)

    async def test_rules_that_nobody_has_seen_are_not_carried_out(self, made: VolumeParts) -> None:
        seen = rule_texts(made.parts.rule)
        made.parts.rule = replace(made.parts.rule, clean=(CleanRule("credentials/**", timedelta(days=30)),))
        with pytest.raises(RefusalError, match="not those of the configuration"):
            await clean(made, paths=seen)
        made.parts.rule = replace(made.parts.rule, clean=())
        with pytest.raises(RefusalError, match="no rule"):
            await clean(made, paths=())
        assert made.cleaner.orders == []

    async def test_a_machine_that_does_not_run_is_not_cleaned(self, made: VolumeParts) -> None:
        made.fly.the_machine = replace(made.fly.the_machine, state="stopped")
        with pytest.raises(RefusalError, match="stopped"):
            await clean(made)
        made.fly.the_volume = replace(made.fly.the_volume, attached_machine_id=None)
        with pytest.raises(RefusalError, match="no machine mounts"):
            await clean(made)

    async def test_what_could_not_be_removed_or_looked_into_degrades_the_run(self, made: VolumeParts) -> None:
        made.fly.rows = [snapshot()]
        made.cleaner.kept = (Kept("logs/a", "it has changed since"),)
        assert (await clean(made, is_applied=True))[0] is RunState.DEGRADED
        made.cleaner.kept, made.cleaner.troubles = (), ("find: denied",)
        assert (await clean(made))[0] is RunState.DEGRADED

    async def test_a_file_time_that_no_calendar_holds_is_left_out(self, made: VolumeParts) -> None:
        made.cleaner.oldest_s = -(10**14)
        assert (await clean(made))[1]["rules"][0]["oldest_at"] is None
        made.cleaner.oldest_s = None
        assert (await clean(made))[1]["rules"][0]["oldest_at"] is None


class TestExtend:
    async def test_the_volume_grows_and_the_cost_is_said(self, made: VolumeParts) -> None:
        state, result = await extend(made, 5)

        assert made.fly.the_volume.size_gb == 5
        assert (state, result["from_gb"], result["to_gb"], result["monthly_cents"]) == (RunState.SUCCEEDED, 3, 5, 30)
        assert (result["needs_restart"], result["restart_missing"], made.machine.restarts) == (False, False, 0)

    async def test_each_effect_is_journalled_before_it_is_asked_for(self, made: VolumeParts) -> None:
        made.keeper.needs_restart = True
        _, _, run = await done(made, volume_act="extend", size_gb=4, is_restarting=True)
        assert [step.name for step in await made.parts.steps(run)] == ["extend volume", "restart machine"]

    async def test_a_restart_that_is_needed_is_said_and_not_done_unasked(self, made: VolumeParts) -> None:
        made.keeper.needs_restart = True
        state, result = await extend(made, 5)
        assert (state, result["restart_missing"], made.machine.restarts) == (RunState.DEGRADED, True, 0)

        state, result = await extend(made, 5, restart=True)

        assert (state, result["restart_missing"], made.machine.restarts) == (RunState.SUCCEEDED, False, 1)
        assert (result["health"], made.machine.lease, made.keeper.calls) == ("started, and it has no checks", None, 1)

    async def test_a_stopped_machine_sees_the_room_when_it_starts(self, made: VolumeParts) -> None:
        made.keeper.needs_restart = True
        made.fly.the_machine = replace(made.fly.the_machine, state="stopped")
        state, result = await extend(made, 5, restart=True)
        assert (state, result["restart_missing"], made.machine.restarts) == (RunState.SUCCEEDED, False, 0)
        made.fly.the_volume = replace(made.fly.the_volume, attached_machine_id=None)
        assert (await extend(made, 6, restart=True))[0] is RunState.SUCCEEDED

    async def test_a_machine_that_is_held_is_not_restarted_and_the_volume_has_grown(self, made: VolumeParts) -> None:
        made.keeper.needs_restart = True
        made.machine.lease = "a deploy"
        state, result = await extend(made, 5, restart=True)
        assert (state, result["health"], result["restart_missing"]) == (RunState.DEGRADED, "not restarted", True)
        assert "held by somebody else" in result["detail"]
        assert (made.fly.the_volume.size_gb, made.machine.restarts) == (5, 0)

    async def test_a_machine_that_is_not_well_afterwards_degrades_the_run(self, made: VolumeParts) -> None:
        made.keeper.needs_restart = True
        made.machine.checks = [(MachineCheck("http", "critical", "refused"),)]
        state, result = await extend(made, 5, restart=True)
        assert (state, result["health"], result["restart_missing"]) == (RunState.DEGRADED, "unhealthy", False)

    async def test_a_lost_answer_is_settled_by_looking_and_not_by_asking_again(self, made: VolumeParts) -> None:
        made.keeper.lost = UNKNOWN
        state, result = await extend(made, 5)
        assert (result["to_gb"], result["needs_restart"], made.keeper.calls) == (5, True, 1)
        assert state is RunState.DEGRADED

        made.keeper.lost, made.keeper.is_lost_before = UNKNOWN, True
        with pytest.raises(FlyUnavailableError):
            await extend(made, 7)
        assert (made.fly.the_volume.size_gb, made.keeper.calls) == (5, 2)

    async def test_a_volume_never_shrinks(self, made: VolumeParts) -> None:
        for size_gb, restart in ((2, False), (2, True), (3, False)):
            with pytest.raises(RefusalError, match="never shrink"):
                await extend(made, size_gb, restart=restart)
        with pytest.raises(RefusalError, match="500"):
            await extend(made, 501)
        with pytest.raises(UsageError):
            await extend(made, None)
        assert made.keeper.calls == 0

    async def test_a_volume_on_a_lost_host_cannot_grow(self, made: VolumeParts) -> None:
        made.fly.the_volume = replace(made.fly.the_volume, host_status=HostStatus.UNREACHABLE)
        with pytest.raises(RefusalError, match="unreachable"):
            await extend(made, 5)


class TestRetention:
    async def test_days_and_automatic_snapshots_change_apart_from_each_other(self, made: VolumeParts) -> None:
        state, result, _ = await done(made, volume_act="retention", retention_days=7)
        assert (state, result["from_days"], result["to_days"]) == (RunState.SUCCEEDED, 14, 7)
        _, result, _ = await done(made, volume_act="retention", is_automatic_on=False)
        assert (result["to_days"], result["automatic_before"], result["automatic_after"]) == (7, True, False)
        assert made.fly.the_volume.snapshot_retention_days == 7
        assert made.fly.the_volume.is_automatic_snapshot_on is False

    async def test_a_policy_that_wants_more_is_named(self, made: VolumeParts) -> None:
        rule = replace(made.parts.rule.policy.snapshot, retention_days=10, is_automatic_wanted=True)
        made.parts.rule = replace(made.parts.rule, policy=replace(made.parts.rule.policy, snapshot=rule))
        _, result, _ = await done(made, volume_act="retention", retention_days=10)
        assert result["doubts"] == []
        _, result, _ = await done(made, volume_act="retention", retention_days=9, is_automatic_on=False)
        assert ["'standard' wants 10 days" in result["doubts"][0], "daily" in result["doubts"][1]] == [True, True]

    async def test_days_that_fly_does_not_offer_are_refused_before_it_is_asked(self, made: VolumeParts) -> None:
        for days in (0, 61):
            with pytest.raises(UsageError, match="1 to 60"):
                await done(made, volume_act="retention", retention_days=days)
        with pytest.raises(UsageError, match="nothing"):
            await done(made, volume_act="retention")

    async def test_an_answer_that_says_otherwise_is_an_error(self, made: VolumeParts) -> None:
        made.keeper.is_ignoring = True
        with pytest.raises(FlyUnexpectedAnswerError):
            await done(made, volume_act="retention", retention_days=7)

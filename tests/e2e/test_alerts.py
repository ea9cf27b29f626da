"""Real notifiers over real HTTP: who fails is reported through the others, and a dead-man switch is kept alive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.testing.flysim.faults import Fault, FaultKind
from tests.e2e.planted import Troublemaker, dead_port
from tests.e2e.warm import warm_flykeep
from tests.integration.jobs.workplace import HOUR, Workplace, inboxes, one_volume, workplace

FAILING = "notifier.failing"
STALE = one_volume(ages_hours=(40.0,))


def with_deadman(text: str) -> str:
    return text + '\n[notifiers.deadman]\ntype = "healthchecks"\nurl_secret = "HEALTH_URL"\n'


def with_webhook_variable(name: str) -> Callable[[str], str]:
    return lambda text: text.replace('"FLYSIM_WEBHOOK_URL"', f'"{name}"')


async def later(at: Workplace, hours: int) -> None:
    """Let time pass as a daemon would: every delivery is tried when it is due."""
    for _ in range(hours * 6):
        await at.pass_time(timedelta(minutes=10))
        await at.deliver()


async def test_the_deadman_is_pinged_after_each_check_and_told_to_fail_while_a_critical_incident_is_open(
    tmp_path: Path,
) -> None:
    with Troublemaker() as server:
        environ = {"HEALTH_URL": server.url("ok", "uuid")}
        async with workplace(tmp_path, scenario=STALE, edit=with_deadman, environ=environ) as at:
            await at.check_and_tell()
            await at.check_and_tell()
            at.sim.world.add_snapshot(at.volume, age=HOUR)
            await at.check_and_tell()
        assert server.paths == ["/ok/uuid/fail", "/ok/uuid/fail", "/ok/uuid"]


async def test_a_webhook_that_answers_500_is_reported_through_the_log_and_resolved_when_it_works(
    tmp_path: Path,
) -> None:
    async with workplace(tmp_path, scenario=STALE) as at:
        (log,) = inboxes(at, "log")
        at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action="webhook", times=0, status=500))
        await at.check_and_tell()
        await later(at, 1)
        assert log.told() == [("opened", "snapshot.stale"), ("opened", FAILING)]
        at.sim.faults.clear()
        await later(at, 3)
        assert log.told() == [("resolved", FAILING)]
        assert [b'"kind":"opened"' in one.body for one in at.sim.webhooks] == [True, False]
        assert await at.open_codes() == ["snapshot.stale"]


@pytest.mark.parametrize("status", [410, 404])
async def test_a_webhook_that_refuses_for_good_is_asked_once_and_reported_at_once(tmp_path: Path, status: int) -> None:
    with Troublemaker() as server:
        environ = {"DEAD_URL": server.url(f"text-{status}")}
        edit = with_webhook_variable("DEAD_URL")
        async with workplace(tmp_path, scenario=STALE, edit=edit, environ=environ) as at:
            (log,) = inboxes(at, "log")
            await at.check_and_tell()
            await later(at, 2)
            assert log.told() == [("opened", "snapshot.stale"), ("opened", FAILING)]
        assert len(server.paths) == 1


async def test_a_webhook_at_a_dead_port_is_reported_through_the_log(tmp_path: Path) -> None:
    environ = {"DEAD_URL": f"http://127.0.0.1:{dead_port()}"}
    edit = with_webhook_variable("DEAD_URL")
    async with workplace(tmp_path, scenario=STALE, edit=edit, environ=environ) as at:
        (log,) = inboxes(at, "log")
        await at.check_and_tell()
        await later(at, 1)
        assert ("opened", FAILING) in log.told()
        (incident,) = [one for one in await at.incidents() if one.finding.code == FAILING]
        assert "could not be reached" in incident.finding.summary


async def test_the_command_line_tells_once_of_a_stale_backup_of_an_outage_and_of_their_end(tmp_path: Path) -> None:
    async with warm_flykeep(tmp_path, scenario=STALE) as kit:

        def told() -> list[bytes]:
            words = [word for one in kit.sim.webhooks for word in (b"opened", b"resolved") if b'"' + word in one.body]
            kit.sim.webhooks.clear()
            return words

        assert (await kit.run("check", "--notify", "--json")).code == 3
        assert told() == [b"opened"]
        assert (await kit.run("check", "--notify", "--json")).code == 3
        assert told() == []
        kit.sim.world.add_snapshot(kit.sim.world.find_volume("my-crocbot", "crocbot_data"), age=HOUR)
        assert (await kit.run("check", "--notify", "--json")).code == 0
        assert told() == [b"resolved"]
        kit.extra = {"FLY_API_TOKEN": "FlyV1 fm2_wrong"}
        outage = await kit.run("check", "--notify", "--json")
        assert outage.code == 3
        assert outage.document["is_conclusive"] is False
        assert [one["code"] for one in outage.document["findings"]] == ["fly.unreachable"]
        assert told() == [b"opened"]
        kit.extra = {}
        assert (await kit.run("check", "--notify", "--json")).code == 0
        assert told() == [b"resolved"]

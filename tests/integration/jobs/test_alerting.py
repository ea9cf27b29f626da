"""People are told once, reminded, and told when it is over; an outage claims nothing it cannot know."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.db.alerts import SqlAlerts
from flykeep.domain.errors import StateError
from flykeep.domain.findings import FindingCode, MessageKind
from flykeep.domain.policy import JobKind
from flykeep.domain.run import RunState
from flykeep.jobs.alerting import Recipient
from flykeep.ports.catalog import Pause
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.model import Snapshot
from tests.integration.jobs.workplace import HOUR, TARGET, Inbox, Workplace, inboxes, one_volume, workplace

ALERTS = ("opened", "reminded", "resolved")


def reminding(every: str) -> Callable[[str], str]:
    return lambda text: text.replace('timezone = "UTC"', f'timezone = "UTC"\nremind_every = "{every}"')


@asynccontextmanager
async def told(directory: Path, *, ages_hours: tuple[float, ...] = (40.0,)) -> AsyncIterator[tuple[Workplace, Inbox]]:
    """A workplace whose one notifier is an inbox; its reminders come every 6 h."""
    async with workplace(directory, scenario=one_volume(ages_hours=ages_hours), edit=reminding("6h")) as at:
        (inbox, _) = inboxes(at, "hook", "log")
        yield at, inbox


async def test_a_stale_snapshot_opens_one_incident_reminds_at_its_interval_and_resolves_once(tmp_path: Path) -> None:
    async with told(tmp_path) as (at, inbox):
        for hour in range(20):
            await at.check_and_tell()
            messages = inbox.told()
            match hour:
                case 0:
                    assert messages == [("opened", "snapshot.stale")]
                case 6 | 12 | 18:
                    assert messages == [("reminded", "snapshot.stale")]
                case _:
                    assert messages == []
            await at.pass_time(HOUR)
        (incident,) = await at.incidents()
        assert (incident.reminder_count, incident.finding.code) == (3, FindingCode.SNAPSHOT_STALE)
        await at.run(JobKind.SNAPSHOT)
        for _ in range(3):
            await at.check_and_tell()
            await at.pass_time(HOUR)
        assert inbox.told() == [("resolved", "snapshot.stale")]
        assert await at.incidents() == []
        assert len(await at.incidents(is_open=None)) == 1


async def test_a_message_says_what_where_since_when_the_last_good_backup_and_what_to_do(tmp_path: Path) -> None:
    async with told(tmp_path) as (at, inbox):
        await at.check_and_tell()
        (message,) = inbox.messages
        volume_id = at.volume.id
        now = at.clock.now()
    assert message.title == f"[CRITICAL] {TARGET}: the newest snapshot is too old"
    assert (message.app, message.volume_id) == ("my-crocbot", volume_id)
    assert message.since_at == now - 14 * HOUR
    assert message.last_good_at == now - 40 * HOUR
    assert message.next_step == f"flykeep snapshot {TARGET}"
    for part in (TARGET, volume_id, "Since: ", "Last good backup: ", f"Do next: flykeep snapshot {TARGET}"):
        assert part in message.body


async def test_an_outage_of_fly_opens_its_own_incident_and_is_silent_on_backups_until_they_cannot_be_proven(
    tmp_path: Path,
) -> None:
    async with told(tmp_path, ages_hours=(6.0,)) as (at, inbox):
        await at.check_and_tell()
        assert inbox.told() == []
        at.arm(Fault(kind=FaultKind.ERROR_BEFORE, action="org.*", times=0, status=401))
        for hour in range(1, 21):
            await at.pass_time(HOUR)
            await at.check_and_tell()
            messages = inbox.told()
            if hour == 1:
                assert messages == [("opened", "fly.unreachable")]
            else:
                assert messages == []
        assert await at.open_codes() == ["fly.unreachable"]
        await at.pass_time(timedelta(minutes=10))
        await at.check_and_tell()
        assert inbox.told() == [("opened", "rpo.unproven")]
        await at.pass_time(HOUR)
        at.sim.faults.clear()
        at.sim.world.add_snapshot(at.volume, age=HOUR)  # Fly's own daily one went on meanwhile
        await at.check_and_tell()
        assert sorted(inbox.told()) == [("resolved", "fly.unreachable"), ("resolved", "rpo.unproven")]
        assert await at.incidents() == []


async def test_a_backup_that_was_stale_before_an_outage_stays_an_incident_through_it(tmp_path: Path) -> None:
    async with told(tmp_path) as (at, inbox):
        await at.check_and_tell()
        inbox.told()
        at.arm(Fault(kind=FaultKind.RESET_BEFORE, action="org.machines", times=0))
        at.sim.world.add_snapshot(at.volume, age=timedelta(0))
        await at.pass_time(HOUR)
        await at.check_and_tell()
        # The age cannot be proven either: at 41 h the last one known is older than the policy allows.
        assert sorted(inbox.told()) == [("opened", "fly.unreachable"), ("opened", "rpo.unproven")]
        assert await at.open_codes() == ["fly.unreachable", "rpo.unproven", "snapshot.stale"]
        at.sim.faults.clear()
        await at.check_and_tell()
        assert sorted(inbox.told()) == [
            ("resolved", "fly.unreachable"),
            ("resolved", "rpo.unproven"),
            ("resolved", "snapshot.stale"),
        ]


async def test_a_target_that_was_stale_and_still_is_after_an_outage_is_not_announced_anew(tmp_path: Path) -> None:
    async with told(tmp_path) as (at, inbox):
        await at.check_and_tell()
        at.arm(Fault(kind=FaultKind.RESET_BEFORE, action="org.machines", times=0))
        await at.check_and_tell()
        at.sim.faults.clear()
        inbox.told()
        await at.check_and_tell()
        assert sorted(inbox.told()) == [("resolved", "fly.unreachable"), ("resolved", "rpo.unproven")]
        assert await at.open_codes() == ["snapshot.stale"]


async def test_a_region_that_does_not_answer_is_told_and_resolves_nothing(tmp_path: Path) -> None:
    async with told(tmp_path, ages_hours=(6.0,)) as (at, inbox):
        await at.check_and_tell()
        at.arm(Fault(kind=FaultKind.ERROR_REGIONS, action="org.volumes", times=2))
        await at.check_and_tell()
        await at.check_and_tell()
        assert inbox.told() == [("opened", "fly.incomplete")]
        await at.check_and_tell()
        assert inbox.told() == [("resolved", "fly.incomplete")]


async def test_an_incident_and_its_messages_are_stored_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with told(tmp_path) as (at, inbox):
        with monkeypatch.context() as broken:

            async def refuse(*_: object, **__: object) -> None:
                raise StateError("the disk is full")

            broken.setattr(SqlAlerts, "enqueue", refuse)
            run = await at.check_and_tell()
        assert run.state is RunState.FAILED
        assert await at.incidents(is_open=None) == []
        await at.check_and_tell()
        assert inbox.told() == [("opened", "snapshot.stale")]


async def test_a_check_that_dies_between_judging_and_telling_is_made_good_by_the_next_one(
    tmp_path: Path,
) -> None:
    async with told(tmp_path) as (at, inbox):
        await at.check()  # judged, remembered, and then the process died
        await at.check_and_tell()
        assert inbox.told() == [("opened", "snapshot.stale")]


async def test_a_paused_targets_incident_is_neither_reminded_nor_resolved(tmp_path: Path) -> None:
    async with told(tmp_path) as (at, inbox):
        await at.check_and_tell()
        inbox.told()
        lineage, now = await at.lineage(), at.clock.now()
        async with at.application.catalog.transaction() as tx:
            await tx.pause(Pause(lineage.id, None, "moving house", now))
        await at.pass_time(7 * HOUR)
        await at.check_and_tell()
        assert inbox.told() == []
        assert await at.open_codes() == ["snapshot.stale"]


async def test_a_policy_that_does_not_alarm_tells_nobody(tmp_path: Path) -> None:
    def quiet(text: str) -> str:
        return text.replace('timezone = "UTC"', 'timezone = "UTC"\nalarming = false')

    async with workplace(tmp_path, scenario=one_volume(ages_hours=(40.0,)), edit=quiet) as at:
        (inbox, _) = inboxes(at, "hook", "log")
        await at.check_and_tell()
        assert inbox.told() == []
        assert await at.incidents() == []


async def test_an_unfinished_snapshot_becomes_an_incident_after_two_hours(tmp_path: Path) -> None:
    async with told(tmp_path, ages_hours=(6.0,)) as (at, inbox):
        at.arm(Fault(kind=FaultKind.SNAPSHOT_STUCK, action="snapshot.create"))
        await at.lineage()
        await at.driven(at.application.fly.request_snapshot("my-crocbot", at.volume.id))  # type: ignore[arg-type]
        newest: Snapshot = at.volume.snapshots[-1]
        for _ in range(5):
            await at.check_and_tell()
            await at.pass_time(timedelta(minutes=35))
        assert inbox.told() == [("opened", "snapshot.pending_too_long")]
        newest.settled_status = "created"
        await at.check_and_tell()
        assert inbox.told() == [("resolved", "snapshot.pending_too_long")]


async def test_a_message_goes_to_those_notifiers_only_that_take_its_kind(tmp_path: Path) -> None:
    async with workplace(tmp_path, scenario=one_volume(ages_hours=(40.0,))) as at:
        alerting = replace(
            at.application.alerting,
            recipients=(
                Recipient("people", frozenset({MessageKind.OPENED})),
                Recipient("deadman", frozenset({MessageKind.CHECKED})),
            ),
        )
        report = await at.check()
        await alerting.record(report.verdicts, report.org, check_id="c1")
        async with at.application.catalog.transaction() as tx:
            due = await tx.due_deliveries(now=at.clock.now())
    assert [(one.notifier, one.message.kind.value) for one in due] == [("people", "opened"), ("deadman", "checked")]

"""Messages leave in order and at least once; a notifier that does not deliver is told of through the others."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from flykeep.domain.errors import NotifyError
from flykeep.domain.findings import Delivery, Message, MessageKind, Severity
from flykeep.jobs import delivery
from flykeep.jobs.delivery import Outbox
from tests.integration.jobs.workplace import HOUR, Inbox, Workplace, inboxes, until, workplace

SECOND = timedelta(seconds=1)
FAILING = "notifier.failing"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Workplace]:
    async with workplace(tmp_path) as opened:
        yield opened


@pytest.fixture
def hook(at: Workplace) -> Inbox:
    return inboxes(at, "hook")[0]


@pytest.fixture
def log(at: Workplace) -> Inbox:
    return inboxes(at, "log")[0]


def message(number: int, *, at: Workplace) -> Message:
    return Message(f"m{number}", MessageKind.OPENED, at.clock.now(), Severity.WARNING, f"number {number}", "", "c", "s")


async def enqueue(at: Workplace, *numbers: int, notifiers: tuple[str, ...] = ("hook",)) -> None:
    async with at.application.catalog.transaction() as tx:
        for number in numbers:
            for notifier in notifiers:
                await tx.enqueue(notifier, message(number, at=at), now=at.clock.now())


async def waiting(at: Workplace) -> list[Delivery]:
    async with at.application.catalog.transaction() as tx:
        return list(await tx.due_deliveries(now=at.clock.now() + timedelta(days=9)))


def ids(inbox: Inbox) -> list[str]:
    return [one.id for one in inbox.messages]


def refused(*, permanently: bool = False) -> Exception:
    return NotifyError("answered with status 500", is_permanent=permanently)


async def test_messages_are_delivered_in_order_and_once(at: Workplace, hook: Inbox, log: Inbox) -> None:
    await enqueue(at, 1, 2, 3, notifiers=("hook", "log"))
    assert await at.deliver() == 6
    assert await at.deliver() == 0
    assert ids(hook) == ids(log) == ["m1", "m2", "m3"]


async def test_what_stands_behind_a_failed_message_waits_with_it(at: Workplace, hook: Inbox, log: Inbox) -> None:
    hook.refuse = refused
    await enqueue(at, 1, 2, notifiers=("hook", "log"))
    assert await at.deliver() == 2
    hook.refuse = None
    for _ in range(9):
        await at.pass_time(SECOND)
        assert await at.deliver() == 0, "the second must not overtake the first"
    await at.pass_time(SECOND)
    await at.deliver()
    assert ids(hook)[:2] == ["m1", "m2"]
    assert ids(log) == ["m1", "m2"]


async def test_a_notifier_with_a_long_queue_does_not_hold_up_the_others(at: Workplace, hook: Inbox, log: Inbox) -> None:
    hook.refuse = refused
    await enqueue(at, *range(70))
    await at.deliver()
    await enqueue(at, 100, notifiers=("log",))
    await at.deliver()
    assert ids(log) == ["m100"]
    assert hook.attempts == 1


async def test_each_further_try_waits_longer_and_the_sixth_failure_gives_up(at: Workplace, hook: Inbox) -> None:
    inboxes(at, "log")
    hook.refuse = refused
    await enqueue(at, 1)
    tried_at = []
    for _ in range(4 * 60):
        before = hook.attempts
        await at.deliver()
        if hook.attempts > before:
            tried_at.append(at.clock.monotonic())
        await at.pass_time(timedelta(minutes=1))
    waits = [round((after - before) / 60) for before, after in pairwise(tried_at)]
    assert hook.attempts == 6
    assert waits == [1, 1, 5, 30, 120]
    assert await waiting(at) == []


async def test_a_dead_notifier_is_reported_through_the_others_once_and_resolved_when_it_works_again(
    at: Workplace, hook: Inbox, log: Inbox
) -> None:
    hook.refuse = refused
    await enqueue(at, 1)
    await at.deliver()
    assert log.told() == [], "one hiccup is not worth a message"
    for _ in range(3):
        await at.pass_time(HOUR)
        await at.deliver()
    await at.deliver()
    assert log.told() == [("opened", FAILING)]
    (incident,) = await at.incidents()
    assert incident.finding.subject.label == "notifier hook"
    assert "answered with status 500" in incident.finding.summary
    hook.refuse = None
    await at.pass_time(2 * HOUR)
    await at.deliver()
    await at.deliver()
    assert hook.messages[0].id == "m1"
    assert log.told() == [("resolved", FAILING)]
    assert await at.incidents() == []


async def test_a_permanent_refusal_is_not_tried_again_and_told_at_once(at: Workplace, hook: Inbox, log: Inbox) -> None:
    hook.refuse = lambda: refused(permanently=True)
    await enqueue(at, 1, 2)
    await at.deliver()
    assert (hook.attempts, len(await at.incidents())) == (1, 1)
    await at.deliver()
    assert hook.attempts == 2
    assert log.told() == [("opened", FAILING)]
    await at.pass_time(timedelta(days=1))
    await at.deliver()
    assert hook.attempts == 2


async def test_the_failing_of_a_notifier_is_not_queued_for_that_notifier(at: Workplace, hook: Inbox) -> None:
    inboxes(at, "log")
    hook.refuse = lambda: refused(permanently=True)
    await enqueue(at, 1)
    await at.deliver()
    assert {one.notifier for one in await waiting(at)} == {"log"}


async def test_a_notifier_that_does_not_answer_is_given_up_on_in_time(
    at: Workplace, hook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_SEND_LIMIT", timedelta(milliseconds=10))

    async def never(_: Message) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(hook, "send", never)
    await enqueue(at, 1)
    assert await at.deliver() == 0
    (held,) = await waiting(at)
    assert (held.attempts, held.last_error) == (1, "no answer within 0 s")


async def test_a_notifier_with_a_defect_fails_alone_and_its_words_are_not_repeated(
    at: Workplace, hook: Inbox, log: Inbox
) -> None:
    hook.refuse = lambda: ValueError("https://user:password@example.org")
    await enqueue(at, 1, notifiers=("hook", "log"))
    assert await at.deliver() == 1
    (held,) = await waiting(at)
    assert held.last_error == "has a defect: ValueError"


async def test_messages_of_a_notifier_that_was_removed_are_dropped_in_silence(at: Workplace, log: Inbox) -> None:
    await enqueue(at, 1, notifiers=("former",))
    await at.deliver()
    await at.deliver()
    assert await waiting(at) == []
    assert log.told() == []
    assert await at.incidents() == []


async def test_the_incident_of_a_notifier_that_was_removed_is_resolved_by_the_next_check(
    at: Workplace, log: Inbox
) -> None:
    await at.application.alerting.notifier_fails("former", "was refused", since_at=at.clock.now())
    await at.application.alerting.notifier_fails("hook", "was refused", since_at=at.clock.now())
    await at.check_and_tell()
    assert [incident.finding.subject.label for incident in await at.incidents()] == []
    assert ("resolved", FAILING) in log.told()


async def test_a_delivery_whose_record_was_lost_is_made_again_rather_than_never(
    at: Workplace, hook: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies between the notifier's yes and the catalog's: the same message, with the same id, goes again."""
    await enqueue(at, 1)

    class DyingError(BaseException):
        pass

    async def accept_and_die(sent: Message) -> None:
        hook.messages.append(sent)
        raise DyingError

    with monkeypatch.context() as dying:
        dying.setattr(hook, "send", accept_and_die)
        with pytest.raises(BaseException):  # noqa: B017 - a group around it
            await at.deliver()
    await at.deliver()
    assert ids(hook) == ["m1", "m1"]


async def test_the_daemons_loop_delivers_what_arrives_within_a_second(at: Workplace, hook: Inbox) -> None:
    loop = asyncio.create_task(at.application.outbox.run())
    await until(lambda: at.clock.sleeper_count > 0)
    await enqueue(at, 1)
    while not hook.messages:
        await asyncio.sleep(0.002)
        if at.clock.sleeper_count:
            await at.pass_time(SECOND)
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


async def test_a_message_for_no_one_is_never_made(at: Workplace) -> None:
    silent = Outbox(at.application.catalog, at.clock, {}, replace(at.application.alerting, recipients=()))
    await silent.alerting.notifier_fails("hook", "was refused", since_at=at.clock.now())
    assert await waiting(at) == []
    assert len(await at.incidents()) == 1

"""What every notifier must hold to, whoever wrote it. Each check raises AssertionError with what was broken.

A plugin's author runs `check_notifier` with a `NotifierCase`; see docs/how-to/add-a-notifier.md.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flykeep.domain.errors import ConfigError, NotifyError
from flykeep.domain.findings import Message, MessageKind, Severity
from flykeep.ports.clock import Clock
from flykeep.ports.notifier import Notifier
from flykeep.ports.plugin import NotifierDeps, NotifierPlugin


@dataclass(frozen=True, slots=True)
class NotifierCase:
    """A notifier with three sets of secrets: for a service that accepts, one that refuses, and a dead address.

    `planted` are pieces of those secrets that must never be told. A notifier that talks to nobody has no `refusing`
    and no `dead`.
    """

    plugin: NotifierPlugin
    table: Mapping[str, object]
    accepting: Mapping[str, str]
    refusing: Mapping[str, str] | None
    dead: Mapping[str, str] | None
    planted: tuple[str, ...]


def sample_message(kind: MessageKind, *, severity: Severity = Severity.CRITICAL) -> Message:
    """A message with every field filled."""
    at = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
    return Message(
        id=f"incident-1:{kind}:0",
        kind=kind,
        created_at=at,
        severity=severity,
        title="[CRITICAL] my-crocbot/crocbot_data: snapshot.stale",
        body="The newest snapshot is 40 h old.\n\nDo next: flykeep snapshot my-crocbot/crocbot_data",
        code="snapshot.stale",
        subject="my-crocbot/crocbot_data",
        app="my-crocbot",
        volume_id="vol_1",
        since_at=at,
        last_good_at=at,
        next_step="flykeep snapshot my-crocbot/crocbot_data",
        incident_id="incident-1",
        is_healthy=False,
    )


def build(case: NotifierCase, secrets: Mapping[str, str], clock: Clock) -> Notifier:
    """The notifier of a case, called `sample`, with these secrets."""

    def secret(name: str) -> str:
        if name not in secrets:
            raise ConfigError(f"the secret {name} is not set")
        return secrets[name]

    return case.plugin.build("sample", case.table, NotifierDeps(clock=clock, secret=secret))


async def check_notifier(case: NotifierCase, clock: Clock) -> None:
    """Every check below, in order."""
    check_declares_its_kinds(case, clock)
    check_judges_its_table(case)
    await check_delivers_every_kind(case, clock)
    await check_reports_refusal(case, clock)
    await check_reports_a_dead_address(case, clock)
    await check_reports_a_missing_secret(case, clock)


def check_declares_its_kinds(case: NotifierCase, clock: Clock) -> None:
    """A notifier bears the configured name and tells which kinds it handles; a test message is always one of them."""
    notifier = build(case, case.accepting, clock)
    assert notifier.name == "sample"
    assert notifier.kinds, "handles nothing"
    assert MessageKind.TEST in notifier.kinds, "`flykeep notify test` could not reach it"
    assert notifier.kinds <= frozenset(MessageKind)
    _assert_hidden(case, repr(notifier))


def check_judges_its_table(case: NotifierCase) -> None:
    """A table is refused with ConfigError for an unknown key, which is named, and accepted as configured."""
    case.plugin.validate("sample", case.table)
    refused: ConfigError | None = None
    try:
        case.plugin.validate("sample", {**case.table, "no_such_key": case.planted[0] if case.planted else "x"})
    except ConfigError as error:
        refused = error
    assert refused is not None, "an unknown key was accepted"
    assert "no_such_key" in str(refused)
    _assert_hidden(case, told_by(refused))


async def check_delivers_every_kind(case: NotifierCase, clock: Clock) -> None:
    """Every kind it declares is accepted, twice too: the outbox may repeat a message."""
    notifier = build(case, case.accepting, clock)
    for kind in sorted(notifier.kinds):
        for severity in Severity:
            await notifier.send(sample_message(kind, severity=severity))
    await notifier.send(sample_message(MessageKind.TEST))


async def check_reports_refusal(case: NotifierCase, clock: Clock) -> None:
    """A service that refuses becomes a NotifyError without any secret."""
    if case.refusing is not None:
        await _assert_notify_error(case, case.refusing, clock)


async def check_reports_a_dead_address(case: NotifierCase, clock: Clock) -> None:
    """Nobody listening becomes a NotifyError worth another try."""
    if case.dead is not None:
        error = await _assert_notify_error(case, case.dead, clock)
        assert not error.is_permanent, "a dead address may come back"


async def check_reports_a_missing_secret(case: NotifierCase, clock: Clock) -> None:
    """A secret that is not set becomes a NotifyError naming it, told when sending: others can then report it."""
    if not case.accepting:
        return
    error = await _assert_notify_error(case, {}, clock)
    assert any(name in str(error) for name in case.accepting), "the missing secret is not named"


async def _assert_notify_error(case: NotifierCase, secrets: Mapping[str, str], clock: Clock) -> NotifyError:
    notifier = build(case, secrets, clock)
    try:
        await notifier.send(sample_message(MessageKind.TEST))
    except NotifyError as error:
        _assert_hidden(case, told_by(error))
        return error
    raise AssertionError("the message was not accepted, and no NotifyError was raised")


def told_by(error: BaseException) -> str:
    """Everything a log could print of an error: its words, its parts, its causes, its traceback."""
    parts = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    return "\n".join(parts)


def _assert_hidden(case: NotifierCase, text: str) -> None:
    for piece in case.planted:
        assert piece not in text, "a secret was told"

"""Pings a dead-man switch after every finished check, so that silence raises the alarm.

Source: https://healthchecks.io/docs/http_api/ (success at the URL itself, `/fail`, `/log`).
"""

from __future__ import annotations

from collections.abc import Mapping

from flykeep.adapters.notifiers.http_post import parse_url, post
from flykeep.adapters.notifiers.tables import NotifierTable, SecretName, secret_of, validated
from flykeep.domain.findings import Message, MessageKind
from flykeep.ports.notifier import Notifier
from flykeep.ports.plugin import NotifierDeps, NotifierPlugin

_MOST_BYTES = 10_000


class HealthchecksTable(NotifierTable):
    url_secret: SecretName


class HealthchecksNotifier:
    """`/fail` while a critical incident is open; a test goes to `/log`, which changes no state there."""

    def __init__(self, name: str, *, table: HealthchecksTable, deps: NotifierDeps) -> None:
        self.name = name
        self.kinds = frozenset({MessageKind.CHECKED, MessageKind.TEST})
        self._table = table
        self._deps = deps

    async def send(self, message: Message) -> None:
        url = parse_url(secret_of(self._deps, self._table.url_secret), notifier=self.name)
        suffix = "/log" if message.kind is MessageKind.TEST else "" if message.is_healthy else "/fail"
        if suffix:
            url = url.copy_with(path=url.path.rstrip("/") + suffix)
        text = f"{message.title}\n\n{message.body}".encode()[:_MOST_BYTES]
        await post(url, content=text, headers={"Content-Type": "text/plain; charset=utf-8"}, notifier=self.name)


def _build(name: str, table: Mapping[str, object], deps: NotifierDeps) -> Notifier:
    return HealthchecksNotifier(name, table=validated(HealthchecksTable, name, table), deps=deps)


def _validate(name: str, table: Mapping[str, object]) -> None:
    validated(HealthchecksTable, name, table)


PLUGIN = NotifierPlugin(
    type="healthchecks",
    summary="A ping after each finished check; /fail while a critical incident is open.",
    build=_build,
    validate=_validate,
)

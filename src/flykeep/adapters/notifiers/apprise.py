"""Messages to any of the services apprise knows: Telegram, Slack, Discord, mail and a hundred more."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import unquote

from flykeep.adapters.notifiers.document import ALERTS
from flykeep.adapters.notifiers.tables import NotifierTable, SecretName, secret_of, validated
from flykeep.adapters.notifiers.wire_logs import quiet_wire_logs
from flykeep.domain.errors import NotifyError
from flykeep.domain.findings import Message, MessageKind, Severity
from flykeep.ports.notifier import Notifier
from flykeep.ports.plugin import NotifierDeps, NotifierPlugin

TIMEOUT_S = 30.0
_MOST_CHARACTERS = 300
_WORDS: ContextVar[list[str] | None] = ContextVar("flykeep_apprise_words", default=None)
_TYPES = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}


class AppriseTable(NotifierTable):
    url_secret: SecretName


class AppriseNotifier:
    """Its library blocks, so that it runs in a thread; a False answer becomes an error with what the library said."""

    def __init__(self, name: str, *, table: AppriseTable, deps: NotifierDeps) -> None:
        self.name = name
        self.kinds: frozenset[MessageKind] = ALERTS
        self._table = table
        self._deps = deps

    async def send(self, message: Message) -> None:
        url = secret_of(self._deps, self._table.url_secret)
        facts = {"notifier": self.name}
        try:
            # A thread can't be stopped: after the timeout it lives on until the library's own socket timeouts end it.
            async with asyncio.timeout(TIMEOUT_S):
                words = await asyncio.to_thread(_deliver, url, message)
        except TimeoutError:
            raise NotifyError(f"did not answer within {TIMEOUT_S:.0f} s", facts=facts) from None
        if words is not None:
            raise NotifyError(f"was refused: {scrubbed(words, url)}", facts=facts)


def _deliver(url: str, message: Message) -> str | None:
    """None when every service took it, else what the library logged. Runs in a thread of its own."""
    import apprise  # noqa: PLC0415 - heavy, and only needed where somebody uses it

    quiet_wire_logs()
    service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="flykeep", app_desc="flykeep"))
    type_ = "success" if message.kind is MessageKind.RESOLVED else _TYPES[message.severity]
    with _words_of_this_call() as words:
        if not service.add(url):
            raise NotifyError("its secret does not hold a URL that apprise knows", is_permanent=True)
        if service.notify(title=message.title, body=message.body, notify_type=type_, body_format="text"):
            return None
    return " ".join(words) or "no reason was given"


@contextmanager
def _words_of_this_call() -> Iterator[list[str]]:
    """Collects what apprise logs meanwhile, and keeps it from every other log: it may name the URL.

    apprise delivers in threads of its own and hands them the caller's context, which tells concurrent calls apart.
    """
    words: list[str] = []
    logger = logging.getLogger("apprise")
    logger.propagate = False
    collector = _Collector(level=logging.WARNING)
    logger.addHandler(collector)
    token = _WORDS.set(words)
    try:
        yield words
    finally:
        _WORDS.reset(token)
        logger.removeHandler(collector)


class _Collector(logging.Handler):
    """Adds a record once to the call it belongs to, however many calls are collecting."""

    def emit(self, record: logging.LogRecord) -> None:
        words = _WORDS.get()
        text = record.getMessage()
        if words is not None and text not in words:
            words.append(text)


def scrubbed(words: str, url: str) -> str:
    """`words` without the URL or any part of it that could be a secret, on one line and of bounded length."""
    parts = {part for text in (url, unquote(url)) for part in (text, *re.split(r"[/:@?&=,#;+\s]+", text))}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) > 2:
            words = words.replace(part, "***")
    return " ".join(words.split())[:_MOST_CHARACTERS]


def _build(name: str, table: Mapping[str, object], deps: NotifierDeps) -> Notifier:
    return AppriseNotifier(name, table=validated(AppriseTable, name, table), deps=deps)


def _validate(name: str, table: Mapping[str, object]) -> None:
    validated(AppriseTable, name, table)


PLUGIN = NotifierPlugin(
    type="apprise", summary="Any service apprise knows, by its URL.", build=_build, validate=_validate
)

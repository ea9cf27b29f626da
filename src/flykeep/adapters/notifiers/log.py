"""Messages as JSON lines on standard error: the notifier that needs nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog

from flykeep.adapters.notifiers.document import ALERTS, as_json
from flykeep.adapters.notifiers.tables import NotifierTable, validated
from flykeep.domain.errors import NotifyError
from flykeep.domain.findings import Message, MessageKind, Severity
from flykeep.ports.notifier import Notifier
from flykeep.ports.plugin import NotifierDeps, NotifierPlugin

_LEVELS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "error"}


class LogTable(NotifierTable):
    """It has no keys."""


class LogNotifier:
    """Writes each message as one line, whatever level the rest of flykeep logs at."""

    def __init__(self, name: str, *, stream: TextIO | None = None) -> None:
        self.name = name
        self.kinds: frozenset[MessageKind] = ALERTS
        self._stream = stream

    async def send(self, message: Message) -> None:
        logger = structlog.wrap_logger(
            structlog.PrintLogger(self._stream or sys.stderr), processors=[structlog.processors.JSONRenderer()]
        )
        level = _LEVELS[message.severity]
        try:
            logger.msg(message.title, level=level, notifier=self.name, message=json.loads(as_json(message)))
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            raise NotifyError(
                f"the log can't be written: {type(error).__name__}", facts={"notifier": self.name}
            ) from error


def _build(name: str, table: Mapping[str, object], deps: NotifierDeps) -> Notifier:  # noqa: ARG001 - needs nothing
    _validate(name, table)
    return LogNotifier(name)


def _validate(name: str, table: Mapping[str, object]) -> None:
    validated(LogTable, name, table)


PLUGIN = NotifierPlugin(type="log", summary="JSON lines on standard error.", build=_build, validate=_validate)

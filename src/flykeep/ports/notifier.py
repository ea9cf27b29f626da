"""How people are told."""

from __future__ import annotations

from typing import Protocol

from flykeep.domain.findings import Message, MessageKind


class Notifier(Protocol):
    """Delivers messages of the kinds it handles.

    `send` is called by one task at a time, may be called again with the same message after a failure, and raises
    NotifyError when the message was not accepted; `is_permanent` says that trying again will not help.
    """

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> frozenset[MessageKind]: ...

    async def send(self, message: Message) -> None: ...

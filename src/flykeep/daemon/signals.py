"""SIGTERM and SIGINT as events. Fly sends SIGINT first and SIGTERM when `kill_timeout` has passed."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass, field

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class StopSignals:
    """The first signal asks to stop gently, the second one to stop now."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    insisted: asyncio.Event = field(default_factory=asyncio.Event)

    def install(self) -> None:
        """Take over both signals of this process's loop."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self.receive)

    def remove(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)

    def receive(self) -> None:
        (self.insisted if self.asked.is_set() else self.asked).set()

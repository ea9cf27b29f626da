"""What a worker says, as JSON lines on its standard output."""

from __future__ import annotations

import threading
from typing import BinaryIO

from flykeep.adapters.launchers.wire import Line, ProgressLine, encode_entry_line, encode_line
from flykeep.domain.artifact import IndexEntry
from flykeep.ports.clock import Clock
from flykeep.ports.worker import Progress

_EVERY_S = 0.5


class Reporter:
    """Writes whole lines from any thread. A reader that went away is noticed elsewhere: standard input ends too."""

    def __init__(self, stream: BinaryIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._phase = ""
        self._next_at = 0.0
        self._tar_bytes = 0
        self._stored_bytes = 0
        self._entries = 0

    def phase(self, name: str) -> None:
        """A new phase is reported at once."""
        with self._lock:
            self._phase = name
            self._say()

    def read(self, tar_bytes: int, entries: int) -> None:
        """So much of the tar was read; reported now and then."""
        with self._lock:
            self._tar_bytes, self._entries = tar_bytes, entries
            self._say_if_due()

    def stored(self, count: int) -> None:
        """So many more bytes were handed to the store."""
        with self._lock:
            self._stored_bytes += count
            self._say_if_due()

    def line(self, line: Line) -> None:
        with self._lock:
            self._write(encode_line(line))

    def entry(self, entry: IndexEntry) -> None:
        with self._lock:
            self._stream.write(encode_entry_line(entry))

    def _say_if_due(self) -> None:
        if self._clock.monotonic() >= self._next_at:
            self._say()

    def _say(self) -> None:
        self._next_at = self._clock.monotonic() + _EVERY_S
        progress = Progress(
            phase=self._phase, tar_bytes=self._tar_bytes, stored_bytes=self._stored_bytes, entries=self._entries
        )
        self._write(encode_line(ProgressLine(progress)))

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._stream.flush()

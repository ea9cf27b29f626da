"""A shell script as a child process that takes a bulk stream on its standard input, behind the script itself.

A shell may read ahead of the script it executes. So nothing follows the script until it says that it is ready, and it
must then replace the shell (`exec`) with what takes the stream.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from collections.abc import Callable, Sequence
from typing import IO

from flykeep.adapters.shells.running import Ended, RunningCommand, spawn, widen
from flykeep.domain.errors import FlykeepError

READY = b"flykeep:ready\n"
_PIECES_AT_ONCE = 512  # half of what one writev takes


class EndedEarlyError(Exception):
    """The command stopped taking its input; how it ended says why."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended.code)
        self.ended = ended


class FedCommand:
    """A command that is fed by one thread. Its failures are those that `failure` makes."""

    def __init__(self, child: subprocess.Popen[bytes], *, failure: Callable[[str], FlykeepError]) -> None:
        if child.stdin is None:
            raise AssertionError
        self._running = RunningCommand(child, failure=failure)
        self._failure = failure
        self._stdin: IO[bytes] = child.stdin
        widen(self._stdin.fileno())
        os.set_blocking(self._stdin.fileno(), False)
        self._poll = select.poll()
        self._poll.register(self._stdin.fileno(), select.POLLOUT)

    @classmethod
    def start(cls, command: Sequence[str], *, failure: Callable[[str], FlykeepError]) -> FedCommand:
        """Start a shell. Call from a thread that outlives it. Raises FileNotFoundError for a missing program."""
        return cls(spawn(command), failure=failure)

    def begin(self, script: bytes, *, stall_s: float) -> None:
        """Hand over the script, and return once it says READY. Raises EndedEarlyError where it ends before."""
        self.write([script], stall_s=stall_s)
        said = bytearray(len(READY))
        count = self._running.fill(memoryview(said), stall_s=stall_s)
        if said[:count] != READY:
            raise EndedEarlyError(self.finish(stall_s=stall_s))

    def write(self, pieces: Sequence[bytes | memoryview], *, stall_s: float) -> None:
        """Hand over pieces in order; they may change afterwards.

        Raises EndedEarlyError where the command takes no more, the failure when nothing moves for `stall_s` seconds.
        """
        left = [memoryview(piece) for piece in pieces if len(piece)]
        at = 0
        while at < len(left):
            if not self._poll.poll(stall_s * 1000):
                raise self._failure(f"the machine took nothing for {stall_s:g} s")
            try:
                count = os.writev(self._stdin.fileno(), left[at : at + _PIECES_AT_ONCE])
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise EndedEarlyError(self.finish(stall_s=stall_s)) from None
            while at < len(left) and count >= len(left[at]):
                count -= len(left[at])
                at += 1
            if count:
                left[at] = left[at][count:]

    def finish(self, *, stall_s: float) -> Ended:
        """Close the input and wait for the end; what the command still says is dropped."""
        self._close_input()
        return self._running.output(stall_s=stall_s, on_chunk=lambda _: None)

    def kill(self) -> None:
        """End the child now; safe from any thread and at any time."""
        self._running.kill()

    def close(self) -> None:
        """Kill what is left and reap it."""
        self.kill()
        self._close_input()
        self._running.close()

    def _close_input(self) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()

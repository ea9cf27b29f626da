"""Ends a worker from outside its work: at the end of standard input, at a signal, at its deadline."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
from types import FrameType

from flykeep.domain.errors import FlykeepError, InterruptedRunError, WorkerError
from flykeep.ports.clock import Clock
from flykeep.worker.channel import Flow

_GRACE_S = 30.0  # aborting an upload and deleting what was stored takes a few requests
_PR_SET_PDEATHSIG = 1


class Watch:
    """Watches from a thread of its own until `done`; fails the flow, and ends the process if that does not help."""

    def __init__(self, flow: Flow, *, clock: Clock, deadline_s: float, stdin: int = 0) -> None:
        self._flow = flow
        self._clock = clock
        self._deadline_s = deadline_s
        self._stdin = stdin
        self._done = threading.Event()
        threading.Thread(target=self._watch, daemon=True, name="watch").start()

    def done(self) -> None:
        """The work is over, one way or the other."""
        self._done.set()

    def _watch(self) -> None:
        reason = self._wait()
        self._flow.fail(reason)
        if not self._done.wait(_GRACE_S):
            sys.stderr.write("worker: did not stop in time\n")
            os._exit(reason.exit_code)

    def _wait(self) -> FlykeepError:
        """Nothing follows the order on standard input, so whatever can be read from it is dropped."""
        ends_at = self._clock.monotonic() + self._deadline_s
        poll = select.poll()
        poll.register(self._stdin, select.POLLIN | select.POLLHUP)
        while (left := ends_at - self._clock.monotonic()) > 0:
            if not poll.poll(min(left, 3600.0) * 1000):
                continue
            with contextlib.suppress(OSError):
                if os.read(self._stdin, 4096):
                    continue
            return InterruptedRunError("the worker was told to stop")
        return WorkerError(
            f"the work took longer than {self._deadline_s:g} s",
            hint="Raise the job's timeout, or find out what is slow.",
        )


def stop_on_signals(flow: Flow) -> None:
    """SIGTERM and SIGINT stop the work as the end of standard input does."""

    def stop(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        threading.Thread(target=flow.fail, args=(InterruptedRunError(f"the worker received {name}"),)).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def die_with_parent() -> None:
    """A second line behind standard input: the kernel stops this process when its parent's thread ends."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

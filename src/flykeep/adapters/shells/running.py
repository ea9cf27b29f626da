"""A shell script as a child process whose output is read in bulk."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

from flykeep.domain.errors import FlykeepError

_PIPE_BYTES = 1 << 20
_STDERR_LIMIT_BYTES = 8 << 20
_READ_BYTES = 256 << 10
_LOST = 255  # what OpenSSH ends with when the connection breaks
_END_GRACE_S = 60.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code, 255 for a lost connection, and its standard error by lines."""

    code: int
    stderr: tuple[bytes, ...]

    @property
    def is_lost(self) -> bool:
        """The connection broke, or the command was killed: OpenSSH does not tell these apart."""
        return self.code == _LOST or self.code < 0


class RunningCommand:
    """A command that runs; its output is read by one thread only. Its failures are those that `failure` makes."""

    def __init__(self, child: subprocess.Popen[bytes], *, failure: Callable[[str], FlykeepError]) -> None:
        if child.stdout is None or child.stderr is None:
            raise AssertionError
        self._child = child
        self._failure = failure
        self._stdout = child.stdout
        self._stderr = bytearray()
        self._is_flooded = False
        widen(self._stdout.fileno())
        self._poll = select.poll()
        self._poll.register(self._stdout.fileno(), select.POLLIN | select.POLLHUP)
        self._listener = threading.Thread(target=self._listen, args=(child.stderr,), daemon=True, name="stderr")
        self._listener.start()

    @classmethod
    def start(cls, command: Sequence[str], *, failure: Callable[[str], FlykeepError]) -> RunningCommand:
        """Run a shell that waits for its script. Call from a thread that outlives it: the child dies with that thread.

        Raises FileNotFoundError where there is no such program.
        """
        return cls(spawn(command), failure=failure)

    def give(self, script: bytes) -> None:
        """What the shell is to run; once. A shell that is gone already is noticed by how it ended."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._child.stdin as stdin:
            left = memoryview(script)
            while left:
                left = left[stdin.write(left) or 0 :]

    def fill(self, buffer: memoryview, *, stall_s: float) -> int:
        """Read until the buffer is full or the output ends; returns the bytes read.

        Raises the failure when nothing arrives for `stall_s` seconds.
        """
        filled = 0
        while filled < len(buffer):
            if not self._poll.poll(stall_s * 1000):
                raise self._failure(f"nothing arrived for {stall_s:g} s")
            count = os.readv(self._stdout.fileno(), [buffer[filled:]])
            if not count:
                break
            filled += count
        return filled

    def output(self, *, stall_s: float, on_chunk: Callable[[bytes], object]) -> Ended:
        """Read all output in pieces, then wait for the end."""
        buffer = memoryview(bytearray(_READ_BYTES))
        while count := self.fill(buffer, stall_s=stall_s):
            on_chunk(bytes(buffer[:count]))
        return self.end()

    def end(self) -> Ended:
        """Wait for the command after its output has ended; a child that does not end is killed."""
        try:
            code = self._child.wait(_END_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = _LOST
        self._listener.join(_END_GRACE_S)
        if self._is_flooded:
            raise self._failure("the machine reported more trouble than can be kept")
        return Ended(code=code, stderr=tuple(bytes(self._stderr).splitlines()))

    def kill(self) -> None:
        """End the child and what it started; safe from any thread and at any time. Its output then ends."""
        if self._child.poll() is None:  # reaped, its number may be another's
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill what is left and reap it."""
        self.kill()
        self._child.wait()
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._listener.join(_END_GRACE_S)
        self._stdout.close()

    def _listen(self, stderr: IO[bytes]) -> None:
        with contextlib.suppress(ValueError, OSError), stderr:
            for piece in iter(lambda: os.read(stderr.fileno(), 65536), b""):
                if len(self._stderr) < _STDERR_LIMIT_BYTES:
                    self._stderr += piece
                else:
                    self._is_flooded = True


def spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A child in a process group of its own, which dies with the thread that starts it."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        process_group=0,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, looked up beforehand
    )


def widen(descriptor: int) -> None:
    """A pipe of 1 MiB lets the child run ahead; smaller ones cost a third of the speed."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _die_with_parent() -> None:
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

"""A worker that stands in a machine of its own: waits for one order, has a child carry it out, keeps the report.

The order and its secrets are in the memory of this process and of its child, and nowhere else. It ends by itself: at
its deadline, when no order comes, and some time after its work is over, so that a forgotten machine stops.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import signal
import socket
import stat
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flykeep.domain.errors import FlykeepError, RefusalError, WorkerError
from flykeep.ports.clock import Clock
from flykeep.worker.report_file import ReportWriter
from flykeep.worker.standing_calls import KNOWN, NO, ORDER, TOLD, YES, received, socket_path

WORKER_COMMAND = (sys.executable, "-m", "flykeep.worker")
_TALK_LIMIT_S = 5.0
_REAP_LIMIT_S = 30.0
_LAST_WORDS_LINES = 20
_PIECE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a worker stands: in all, for an order, for a child to stop, and with its result unread or handed out."""

    deadline_s: float
    order_s: float = 900.0
    stop_s: float = 45.0  # longer than a worker takes to abort its upload by itself
    unread_s: float = 900.0
    told_s: float = 120.0  # the answer to a call may be lost, and is asked for again


class Stand:
    """One standing worker. `run` returns when it has nothing left to do."""

    def __init__(
        self, directory: Path, *, clock: Clock, limits: Limits, command: Sequence[str] = WORKER_COMMAND
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._limits = limits
        self._command = command
        self._selector = selectors.DefaultSelector()
        self._child: _Child | None = None
        self._order_digest = b""
        self._is_over = False
        self._deadline_at = clock.monotonic() + limits.deadline_s
        self._ends_at = min(self._deadline_at, clock.monotonic() + limits.order_s)

    def run(self) -> None:
        """Raises RefusalError where the directory is not for this worker alone."""
        _make_private(self._directory)
        self._report = ReportWriter.create(self._directory)
        with _listening(self._directory) as listener, _signals() as signalled:
            self._selector.register(listener, selectors.EVENT_READ, lambda: self._answer(listener))
            self._selector.register(signalled, selectors.EVENT_READ, lambda: self._end_now(signalled))
            self._serve()
            self._stop()

    def _serve(self) -> None:
        while (left := self._ends_at - self._clock.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                key.data()

    def _stop(self) -> None:
        """A child that still works is told to stop, then killed; whoever asks for the report learns why."""
        if self._child is None:
            self._complete(WorkerError("no order came in time"))
        elif not self._is_over:
            self._child.ask_to_stop()
            self._ends_at = self._clock.monotonic() + self._limits.stop_s
            self._serve()
            if not self._is_over:
                self._child.kill()
                self._complete(WorkerError("the worker did not stop when it was told to, and was killed"))

    def _answer(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_TALK_LIMIT_S)
            verb, _, body = received(connection).partition(b"\n")
            connection.sendall(YES if self._hear(verb, body.strip()) else NO)

    def _hear(self, verb: bytes, body: bytes) -> bool:
        now = self._clock.monotonic()
        if verb == ORDER and body:
            return self._take(body)
        if verb in {KNOWN, TOLD} and self._is_over:
            self._ends_at = min(self._ends_at, now if verb == KNOWN else now + self._limits.told_s)
            return True
        return False

    def _take(self, order: bytes) -> bool:
        """The first order is carried out; of later ones only the same is accepted, and changes nothing."""
        digest = hashlib.sha256(order).digest()
        if self._child is None:
            self._order_digest = digest
            self._ends_at = self._deadline_at
            self._child = _Child.start(self._command, order)
            self._selector.register(self._child.stdout, selectors.EVENT_READ, self._take_output)
            self._selector.register(self._child.stderr, selectors.EVENT_READ, self._take_words)
        return digest == self._order_digest

    def _take_output(self) -> None:
        assert self._child is not None
        lines = self._child.read_lines()
        if lines is not None:
            self._report.write(lines)
            return
        self._selector.unregister(self._child.stdout)
        code = self._child.wait()
        self._take_words()
        words = " | ".join(self._child.last_words)
        self._complete(
            WorkerError(
                f"the worker ended with {code} and no result{f': {words}' if words else ''}", facts={"exit_code": code}
            )
        )

    def _take_words(self) -> None:
        assert self._child is not None
        if not self._child.read_words():
            with contextlib.suppress(KeyError):
                self._selector.unregister(self._child.stderr)

    def _complete(self, failure: FlykeepError) -> None:
        """Nothing follows in the report; `failure` ends it where the child has not said how it ended."""
        if self._child is None or not self._child.has_finished:
            self._report.fail(failure)
        self._report.complete()
        self._is_over = True
        self._ends_at = min(self._deadline_at, self._clock.monotonic() + self._limits.unread_s)

    def _end_now(self, signalled: socket.socket) -> None:
        signalled.recv(_PIECE_BYTES)
        self._ends_at = self._deadline_at = self._clock.monotonic()


class _Child:
    """The working process. It stops when its standard input ends, so also when this process dies."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError
        self._process = process
        self._stdin = process.stdin
        self.stdout = process.stdout
        self.stderr = process.stderr
        self.last_words: deque[str] = deque(maxlen=_LAST_WORDS_LINES)
        self._rest = bytearray()
        self._last_line = b""
        os.set_blocking(self.stderr.fileno(), False)

    @classmethod
    def start(cls, command: Sequence[str], order: bytes) -> _Child:
        """A child that died at once is noticed by its silence."""
        pipe = subprocess.PIPE
        child = cls(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True))
        with contextlib.suppress(BrokenPipeError):
            child._stdin.write(order + b"\n")
            child._stdin.flush()
        return child

    @property
    def has_finished(self) -> bool:
        """Its last line was how it ended."""
        with contextlib.suppress(ValueError, AttributeError):
            return json.loads(self._last_line).get("type") in {"result", "failure"}
        return False

    def read_lines(self) -> bytes | None:
        """Whole lines, perhaps none; None at the end of the output."""
        piece = os.read(self.stdout.fileno(), _PIECE_BYTES)
        if not piece:
            return None
        end = piece.rfind(b"\n") + 1
        if not end:
            self._rest += piece
            return b""
        whole = bytes(self._rest) + piece[:end]
        self._rest = bytearray(piece[end:])
        self._last_line = whole[:-1].rpartition(b"\n")[2]
        return whole

    def read_words(self) -> bool:
        """Pass on what it says on standard error; False at the end."""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.stderr.fileno(), _PIECE_BYTES):
                text = piece.decode("utf-8", "backslashreplace")
                self.last_words.extend(text.splitlines())
                sys.stderr.write(text)
            return False
        return True

    def ask_to_stop(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait(self) -> int:
        """Its exit code; one that has closed its output and goes on is killed."""
        try:
            return self._process.wait(_REAP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()


def _make_private(directory: Path) -> None:
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise RefusalError("the worker's directory belongs to somebody else", facts={"directory": str(directory)})
    directory.chmod(0o700)


@contextlib.contextmanager
def _listening(directory: Path) -> Iterator[socket.socket]:
    with socket_path(directory) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen()
        yield listener


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket that has something to read once this process is asked to end."""
    ours, pythons = socket.socketpair()
    with ours, pythons:
        pythons.setblocking(False)
        signal.set_wakeup_fd(pythons.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        yield ours
        signal.set_wakeup_fd(-1)

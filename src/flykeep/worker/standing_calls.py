"""How others talk to a worker that stands: the order in, the report out.

Each call is a process of its own on a small machine, so this module imports next to nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from flykeep.domain.errors import WorkerError
from flykeep.worker.report_file import Report, read_report

ORDER, TOLD, KNOWN = b"order", b"told", b"known"
YES, NO = b"yes", b"no"
_SOCKET = "order.sock"
_ANSWER_LIMIT_S = 20.0


def hand_in(directory: Path, order: bytes) -> bool:
    """Whether the worker took this order, now or the last time it was handed in; never two orders.

    Raises WorkerError where no worker stands.
    """
    answer = _call(directory, ORDER, order)
    if answer not in {YES, NO}:
        raise WorkerError("the standing worker gave no answer", facts={"directory": str(directory)})
    return answer == YES


def report(directory: Path, offset: int) -> Report:
    """The lines from `offset` on; the last one tells of a worker that died. Raises WorkerError without a report."""
    try:
        return read_report(directory, offset)
    except FileNotFoundError as error:
        raise WorkerError("no worker stands here", facts={"directory": str(directory)}) from error


def told(directory: Path, offset: int, found: Report) -> None:
    """Let the worker know that its end was told, so that it may go. It may be gone."""
    if found.is_over:
        with contextlib.suppress(WorkerError):
            _call(directory, KNOWN if found.offset == offset else TOLD, b"")


@contextlib.contextmanager
def socket_path(directory: Path) -> Iterator[str]:
    """A name of the socket that is short enough however deep the directory lies."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{_SOCKET}"
    finally:
        os.close(descriptor)


def received(connection: socket.socket) -> bytes:
    """Everything until the other side has no more to say."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def _call(directory: Path, verb: bytes, body: bytes) -> bytes:
    try:
        with socket_path(directory) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_LIMIT_S)
            connection.connect(path)
            connection.sendall(verb + b"\n" + body)
            connection.shutdown(socket.SHUT_WR)
            return received(connection)
    except OSError as error:
        raise WorkerError(
            "no worker stands here, or it does not answer", facts={"directory": str(directory)}
        ) from error

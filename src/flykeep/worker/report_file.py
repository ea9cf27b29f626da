"""The report of a standing worker: a file of whole lines, locked while its writer lives, read-only once it is complete.

Both marks are the file's own, so that no crash leaves them apart from the lines.
"""

from __future__ import annotations

import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flykeep.domain.errors import FlykeepError, RefusalError, WorkerError

_NAME = "report.jsonl"
_ANSWER_BYTES = 256 << 10
_OPEN_MODE, _COMPLETE_MODE = 0o600, 0o400


@dataclass(frozen=True, slots=True)
class Report:
    """Some lines, and the offset that follows them. `is_over`: none follows, and none ever will."""

    offset: int
    lines: tuple[str, ...]
    is_over: bool


class ReportWriter:
    """The only writer; its lock ends with its process."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @classmethod
    def create(cls, directory: Path) -> ReportWriter:
        """Raises RefusalError where a worker stands or stood already."""
        path, nascent = directory / _NAME, directory / f"{_NAME}.{os.getpid()}"
        file = os.fdopen(os.open(nascent, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OPEN_MODE), "wb")
        fcntl.flock(file, fcntl.LOCK_EX)  # before the name exists under which readers look for a writer
        try:
            os.link(nascent, path)
        except FileExistsError as error:
            raise RefusalError(
                "a worker stands here, or stood here",
                hint="Give each worker a directory of its own.",
                facts={"directory": str(directory)},
            ) from error
        finally:
            nascent.unlink()
        return cls(file)

    def write(self, lines: bytes) -> None:
        """Whole lines only."""
        self._file.write(lines)
        self._file.flush()

    def fail(self, error: FlykeepError) -> None:
        """End with a failure, as a worker does."""
        self.write(_failure_line(error))

    def complete(self) -> None:
        """No line follows."""
        os.fchmod(self._file.fileno(), _COMPLETE_MODE)


def read_report(directory: Path, offset: int) -> Report:
    """A quarter of a MiB of lines from `offset` on, or one line where that is longer.

    A report whose writer died is completed by a failure. Raises FileNotFoundError before there is a report.
    """
    path = directory / _NAME
    with path.open("rb", buffering=0) as file:
        if not _is_complete(file) and _has_no_writer(file):
            _finish(path)
        is_complete = _is_complete(file)  # asked before reading: what comes in meanwhile is for the next call
        data = _whole_lines(file, offset)
        end = offset + len(data)
        lines = data.decode("utf-8", "backslashreplace").split("\n")[:-1]
        return Report(end, tuple(lines), is_complete and end >= os.fstat(file.fileno()).st_size)


def _whole_lines(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    data = file.read(_ANSWER_BYTES)
    while data and b"\n" not in data and (more := file.read(_ANSWER_BYTES)):
        data += more
    return data[: data.rfind(b"\n") + 1]


def _is_complete(file: BinaryIO) -> bool:
    return not os.fstat(file.fileno()).st_mode & stat.S_IWUSR


def _has_no_writer(file: BinaryIO) -> bool:
    """True takes the writer's place until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _finish(path: Path) -> None:
    """Half a line that the writer died over is dropped."""
    with path.open("r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        writer = ReportWriter(file)
        writer.fail(WorkerError("the standing worker died before its work was over"))
        writer.complete()


def _failure_line(error: FlykeepError) -> bytes:
    from flykeep.adapters.launchers.wire import FailureLine, encode_line  # noqa: PLC0415 - slow, and seldom needed

    return encode_line(FailureLine.of(error))

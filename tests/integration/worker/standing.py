"""A standing worker as a real process in a private directory, and the calls that its machine would get by exec."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from flykeep.adapters.launchers.wire import Line, decode_line
from flykeep.domain.artifact import IndexEntry

_FLYKEEP = (sys.executable, "-m", "flykeep")
_LIMIT_S = 60.0
_DRIVER = """
import sys
from pathlib import Path
from flykeep.adapters.system import SystemClock
from flykeep.worker.standing import Limits, Stand
directory, *command = sys.argv[1:]
limits = Limits({limits})
Stand(Path(directory), clock=SystemClock(), limits=limits, command=command).run()
"""


@dataclass
class Standing:
    """What runs in `directory`; `log` is what it says on standard error."""

    directory: Path
    process: subprocess.Popen[bytes]
    log: Path
    called: list[str] = field(default_factory=list)

    def call(self, verb: str, *words: str, stdin: bytes = b"") -> dict[str, Any]:
        """One call, which must succeed."""
        done = called(verb, "--directory", str(self.directory), *words, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def hand_in(self, order: bytes) -> bool:
        self._wait_until_it_stands()
        return bool(self.call("hand-in", stdin=order)["accepted"])

    def report(self, offset: int = 0) -> tuple[list[Line | IndexEntry], dict[str, Any]]:
        """One answer to `report`, its lines decoded as the daemon does it."""
        answer = self.call("report", "--from", str(offset))
        return [decode_line(line.encode()) for line in answer["lines"]], answer

    def whole_report(self) -> list[Line | IndexEntry]:
        """Every line until it is over."""
        found: list[Line | IndexEntry] = []
        offset, is_over, started = 0, False, time.monotonic()
        while not is_over:
            lines, answer = self.report(offset)
            offset, is_over = answer["offset"], answer["is_over"]
            found += lines
            assert time.monotonic() - started < _LIMIT_S, f"not over: {found[-1:]}"
            time.sleep(0 if lines else 0.05)
        return found

    def child(self) -> psutil.Process:
        """The process that carries the order out."""
        started = time.monotonic()
        while time.monotonic() - started < _LIMIT_S:
            if found := psutil.Process(self.process.pid).children():
                return found[0]
            time.sleep(0.01)
        raise AssertionError("no child")

    def ended(self) -> int:
        """Its exit code, once it has ended by itself."""
        return self.process.wait(_LIMIT_S)

    def _wait_until_it_stands(self) -> None:
        started = time.monotonic()
        while not (self.directory / "order.sock").exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - started < _LIMIT_S
            time.sleep(0.01)


def called(*words: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    """`flykeep worker` with these words."""
    return subprocess.run(
        [*_FLYKEEP, "worker", *words], input=stdin, capture_output=True, check=False, timeout=_LIMIT_S, env=env
    )


@contextmanager
def standing(*, deadline_s: float = 100.0) -> Iterator[Standing]:
    """The worker of the program itself."""
    with _running([*_FLYKEEP, "worker", "stand", "--deadline", str(deadline_s), "--directory"]) as found:
        yield found


@contextmanager
def standing_over(script: str, *, limits: str = "100") -> Iterator[Standing]:
    """A worker whose child is a shell script: for what a real order would need minutes for."""
    with _running([sys.executable, "-c", _DRIVER.format(limits=limits)], "sh", "-c", script) as found:
        yield found


@contextmanager
def _running(before: list[str], *after: str) -> Iterator[Standing]:
    with tempfile.TemporaryDirectory(prefix="standing-") as home:
        directory, log = Path(home) / "worker", Path(home) / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen([*before, str(directory), *after], stderr=stderr)
        try:
            yield Standing(directory, process, log)
        finally:
            process.kill()
            process.wait()

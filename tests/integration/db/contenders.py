"""Starts contenders, gives them the signal together, and hears what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[3]


class Contender:
    """One running process; it is killed when its context ends."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.db.contender", *(str(word) for word in words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT / "src")},
        )

    def hear(self) -> Any:
        """What it says next; the test's own time limit ends the waiting."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the contender ended with {self.process.wait()}"
        return json.loads(line)

    def signal(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """As the kernel does when memory is short: no chance to clean up."""
        self.process.kill()
        self.process.wait()


@contextmanager
def contenders(*commands: tuple[object, ...]) -> Iterator[list[Contender]]:
    """Processes that are alive together; all of them are gone afterwards."""
    started = [Contender(*command) for command in commands]
    try:
        yield started
    finally:
        for one in started:
            one.kill()
            for stream in (one.process.stdin, one.process.stdout):
                assert stream is not None
                stream.close()


def race(*commands: tuple[object, ...]) -> list[Any]:
    """Let all of them be ready, start them at once, and give what each says at its end."""
    with contenders(*commands) as started:
        for one in started:
            assert one.hear() == "ready"
        for one in started:
            one.signal()
        return [one.hear() for one in started]

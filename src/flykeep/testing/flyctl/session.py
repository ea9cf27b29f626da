"""One run of flyctl: its streams, its folder, its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from flykeep.ports.clock import Clock
from flykeep.testing.flyctl.api import FlyApi


@dataclass(frozen=True, slots=True)
class Streams:
    """The three of the process that was started, as file descriptors."""

    stdin: int
    stdout: int
    stderr: int

    def read(self) -> str:
        """Everything on standard input; blocks."""
        with open(self.stdin, encoding="utf-8", closefd=False) as source:
            return source.read()

    def say(self, text: str) -> None:
        """A line on standard output."""
        os.write(self.stdout, f"{text}\n".encode())

    def complain(self, text: str) -> None:
        """As flyctl words a failure."""
        os.write(self.stderr, f"Error: {text}\n".encode())


@dataclass(frozen=True, slots=True)
class Session:
    """Where a command acts. `least_secrets` is flyctl's memory of which secrets it has set, by app."""

    api: FlyApi
    streams: Streams
    directory: Path
    ssh_port: int
    least_secrets: dict[str, int]
    clock: Clock

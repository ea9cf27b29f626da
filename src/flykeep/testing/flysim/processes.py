"""Processes of a simulated machine, found by a variable they inherit, whatever sessions they have made."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

HOME_VARIABLE = "FLYSIM_MACHINE_HOME"
_ROUNDS = 5  # what is born while it is looked for is found in the next


def kill_all(home: Path) -> None:
    """Kill every process whose environment names `home`, until none is left."""
    entry = f"{HOME_VARIABLE}={home}".encode()
    for _ in range(_ROUNDS):
        found = [pid for pid in _others() if entry in _environment(pid).split(b"\0")]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _others() -> list[int]:
    found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in found if pid != os.getpid()]


def _environment(pid: int) -> bytes:
    """What it was started with; empty for a process that is over, or somebody else's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""

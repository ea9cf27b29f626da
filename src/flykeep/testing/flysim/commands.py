"""Real commands on simulated machines: each sees the machine's volume at its mount path."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from flykeep.testing.flysim.model import Machine
from flykeep.testing.flysim.world import World

_PIPE_BYTES = 1 << 20
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETUP = r"""
set -e
root=$1 tmp=$2 mount_path=$3 volume=$4
shift 4
mount -t tmpfs -o mode=755 none "$root"
first=${mount_path#/} first=${first%%/*}
for name in bin sbin lib lib32 lib64 libx32 usr etc dev proc sys var opt nix gnu; do
  if [ "$name" = "$first" ]; then continue; fi
  if [ -h "/$name" ]; then cp -P "/$name" "$root/$name"
  elif [ -d "/$name" ]; then mkdir "$root/$name"; mount --rbind "/$name" "$root/$name"
  fi
done
mkdir -p "$root/tmp" "$root/root" "$root/run" "$root/home"
mount --bind "$tmp" "$root/tmp"
if [ -n "$volume" ]; then mkdir -p "$root$mount_path"; mount --bind "$volume" "$root$mount_path"; fi
exec chroot "$root" "$@"
"""


class Isolation(Enum):
    """How a command is given a file system of its own."""

    ROOT = ("unshare", "-m", "--")
    USER = ("unshare", "-r", "-m", "--")
    NONE = ()


@functools.lru_cache(maxsize=1)
def detect_isolation() -> Isolation:
    """The strongest isolation this host allows; starts two short children at most."""
    for isolation in (Isolation.ROOT, Isolation.USER):
        probe = [*isolation.value, "sh", "-c", "mount -t tmpfs none /tmp && mount --rbind /usr /mnt"]
        try:
            if subprocess.run(probe, capture_output=True, check=False, timeout=20).returncode == 0:
                return isolation
        except (OSError, subprocess.TimeoutExpired):
            continue
    return Isolation.NONE


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended; `exit_signal` is 0 unless a signal ended it."""

    exit_code: int
    exit_signal: int
    stdout: bytes
    stderr: bytes


class CommandRunner:
    """Starts commands on machines. `/tmp` of a machine is `DIR/machines/<machine_id>/tmp` and outlives a command."""

    def __init__(self, world: World, isolation: Isolation) -> None:
        self._world = world
        self._isolation = isolation
        self._abandoned: set[asyncio.Task[tuple[bytes, bytes]]] = set()
        self._running: list[asyncio.subprocess.Process] = []

    def tmp_directory(self, machine: Machine) -> Path:
        """The real directory behind a machine's `/tmp`."""
        return self._world.directory / "machines" / machine.id / "tmp"

    async def start(
        self, machine: Machine, argv: Sequence[str], *, extra_env: Mapping[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        """Start a command in a session of its own, with pipes for its three streams."""
        process = await asyncio.create_subprocess_exec(
            *self._argv(machine, argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(machine) | dict(extra_env or {}),
            cwd="/",
            limit=1 << 20,
            start_new_session=True,
        )
        _widen(process)
        return process

    async def run(self, machine: Machine, argv: Sequence[str], *, stdin: bytes, timeout_s: float) -> CommandResult:
        """Run a command to its end; raises `TimeoutError` and leaves it running, as Fly seems to do."""
        process = await self.start(machine, argv)
        finished = asyncio.create_task(process.communicate(stdin))
        try:
            async with asyncio.timeout(timeout_s):
                stdout, stderr = await asyncio.shield(finished)
        except TimeoutError:
            self._abandoned.add(finished)
            finished.add_done_callback(self._abandoned.discard)
            self._running.append(process)
            raise
        except asyncio.CancelledError:
            kill(process)
            await asyncio.wait([finished], timeout=5)
            raise
        code = process.returncode or 0
        return CommandResult(max(code, 0), max(-code, 0), stdout, stderr)

    async def close(self) -> None:
        """End what timed-out commands left running."""
        for process in self._running:
            kill(process)
        if self._abandoned:
            await asyncio.wait(set(self._abandoned), timeout=5)

    def _argv(self, machine: Machine, argv: Sequence[str]) -> list[str]:
        if self._isolation is Isolation.NONE:
            return list(argv)
        home = self._world.directory / "machines" / machine.id
        for name in ("root", "tmp"):
            (home / name).mkdir(parents=True, exist_ok=True)
        volume = self._world.volumes.get(machine.volume_id or "")
        return [
            *self._isolation.value,
            "/bin/sh",
            "-c",
            _SETUP,
            "sh",
            str(home / "root"),
            str(home / "tmp"),
            machine.mount_path or "",
            str(volume.directory) if volume else "",
            *argv,
        ]

    @staticmethod
    def _environment(machine: Machine) -> dict[str, str]:
        return {
            "PATH": _PATH,
            "HOME": "/root",
            "FLY_APP_NAME": machine.app,
            "FLY_MACHINE_ID": machine.id,
            "FLY_REGION": machine.region,
            "FLY_PRIVATE_IP": machine.private_ip,
        } | {key: str(value) for key, value in (machine.config.get("env") or {}).items()}


def _widen(process: asyncio.subprocess.Process) -> None:
    """Let a command's output run ahead: small pipes halve the speed of a bulk stream."""
    transport: Any = process._transport  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
    pipe = transport.get_pipe_transport(1).get_extra_info("pipe")
    with contextlib.suppress(OSError, ValueError):  # a short command has closed it already
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill a command and reap it.

    Its pipes are closed first: a paused pipe with output left unread never ends, and `wait` waits for it.
    """
    kill(process)
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
    await process.wait()


def kill(process: asyncio.subprocess.Process, with_signal: signal.Signals = signal.SIGKILL) -> None:
    """Signal a command and whatever it started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, with_signal)

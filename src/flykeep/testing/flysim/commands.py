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

from flykeep.testing.flysim.model import JsonObject, Machine
from flykeep.testing.flysim.processes import HOME_VARIABLE, kill_all
from flykeep.testing.flysim.program import WORKER_IMAGE, WorkerProgram
from flykeep.testing.flysim.world import World

_PIPE_BYTES = 1 << 20
_COMMANDS = "/run/flykeep"  # where a worker machine sees the program's command
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETUP = r"""
set -e
root=$1 tmp=$2 mount_path=$3 volume=$4
shift 4
show() {  # how, what, where
  mkdir -p "$root$3"
  mount --rbind "$2" "$root$3"
  # A user namespace may not be allowed to; what it could change belongs to the same user.
  if [ "$1" = ro ]; then mount -o remount,bind,ro "$root$3" 2>/dev/null || :; fi
}
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
while [ "$1" != -- ]; do show "$1" "$2" "$3"; shift 3; done
shift
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
    """Starts commands on machines. `/tmp` of a machine is `DIR/machines/<machine_id>/tmp` and outlives a command.

    Where nothing can be mounted, words that name a path in `/tmp` are turned to that directory.
    """

    def __init__(self, world: World, isolation: Isolation, program: WorkerProgram | None = None) -> None:
        self._world = world
        self._isolation = isolation
        self._program = program
        self._abandoned: set[asyncio.Task[tuple[bytes, bytes]]] = set()
        self._running: list[asyncio.subprocess.Process] = []

    def tmp_directory(self, machine: Machine) -> Path:
        """The real directory behind a machine's `/tmp`."""
        return self._home(machine) / "tmp"

    def log(self, machine: Machine) -> Path:
        """What a machine's main process wrote."""
        return self._home(machine) / "log"

    def _home(self, machine: Machine) -> Path:
        return self._world.directory / "machines" / machine.id

    async def start_main(self, machine: Machine) -> asyncio.subprocess.Process | None:
        """Start what a machine is for, writing to its log; None where it is for nothing. Raises OSError."""
        argv = _main_command(machine.config)
        if not argv:
            return None
        self._home(machine).mkdir(parents=True, exist_ok=True)
        with self.log(machine).open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._argv(machine, argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(machine),
                cwd="/",
                start_new_session=True,
            )

    def end_all(self, machine: Machine) -> None:
        """Let nothing of a machine run on, whatever session it has made for itself."""
        kill_all(self._home(machine))

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
        home = self._home(machine)
        for name in ("root", "tmp"):
            (home / name).mkdir(parents=True, exist_ok=True)
        if self._isolation is Isolation.NONE:
            return [self._turned(word, home) for word in argv]
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
            *self._shown(machine),
            "--",
            *argv,
        ]

    def _turned(self, word: str, home: Path) -> str:
        """The simulator's own directory may lie in `/tmp`, and a mount path is in it where nothing can be mounted."""
        is_foreign = word.startswith("/tmp/") and not word.startswith(f"{self._world.directory}/")  # noqa: S108
        return str(home / word[1:]) if is_foreign else word

    def _shown(self, machine: Machine) -> list[str]:
        """What else is seen in the machine: how, what, where, and so on."""
        program = self._program_of(machine)
        if program is None:
            return []
        words = ["ro", str(program.command_directory), _COMMANDS]
        for how, directories in (("ro", program.directories), ("rw", tuple(program.folders))):
            for path in filter(Path.is_dir, directories):
                words += [how, str(path), str(path)]
        return words

    def _program_of(self, machine: Machine) -> WorkerProgram | None:
        return self._program if machine.config.get("image") == WORKER_IMAGE else None

    def _environment(self, machine: Machine) -> dict[str, str]:
        """Fly's variables, the app's secrets where the machine was not made without, and its configuration's."""
        path, program = _PATH, self._program_of(machine)
        if program is not None:
            commands = program.command_directory if self._isolation is Isolation.NONE else _COMMANDS
            path = f"{commands}:{_PATH}"
        app = self._world.apps.get(machine.app)
        secrets = {} if app is None or machine.is_without_secrets else app.secrets
        return (
            {name: secret.value for name, secret in secrets.items()}
            | {
                "PATH": path,
                "HOME": "/root",
                HOME_VARIABLE: str(self._home(machine)),
                "FLY_APP_NAME": machine.app,
                "FLY_MACHINE_ID": machine.id,
                "FLY_REGION": machine.region,
                "FLY_PRIVATE_IP": machine.private_ip,
            }
            | {key: str(value) for key, value in (machine.config.get("env") or {}).items()}
        )


def _main_command(config: JsonObject) -> list[str]:
    """A list of processes stands for the image's own; the simulator runs the first."""
    for process in config.get("processes") or []:
        if process.get("exec"):
            return list(process["exec"])
    init = config.get("init") or {}
    if init.get("exec"):
        return list(init["exec"])
    return [*(init.get("entrypoint") or []), *(init.get("cmd") or [])]


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

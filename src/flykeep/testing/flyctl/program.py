"""A program `fly` for shells: a few lines that hand their streams to this process, where flyctl is simulated.

Starting a Python with HTTP and SSH in it for each command of a page would take most of the time of a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from flykeep.ports.clock import Clock
from flykeep.testing.flyctl.api import RefusedError, session
from flykeep.testing.flyctl.arguments import UsageError, understood
from flykeep.testing.flyctl.commands import perform
from flykeep.testing.flyctl.session import Session, Streams

_MESSAGE_BYTES = 60_000
_BROKEN = 70
_SCRIPT = """\
import json, os, socket, sys
door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
door.connect({door!r})
kept = {{name: value for name, value in os.environ.items() if name.startswith("FLY_")}}
order = json.dumps({{"words": sys.argv[1:], "directory": os.getcwd(), "environment": kept}})
socket.send_fds(door, [order.encode()], [0, 1, 2])
sys.exit(int(door.recv(16) or {broken}))
"""


@dataclass
class SimulatedFlyctl:
    """`folder` holds the program `fly`; `calls` are the command lines it was given, in order."""

    folder: Path
    ssh_port: int
    clock: Clock
    calls: list[tuple[str, ...]] = field(default_factory=list)
    least_secrets: dict[str, int] = field(default_factory=dict)

    async def answer(self, door: socket.socket) -> None:
        """Serve one run of the program."""
        code = _BROKEN
        descriptors: list[int] = []
        try:
            message, descriptors, _, _ = await asyncio.to_thread(socket.recv_fds, door, _MESSAGE_BYTES, 3)
            order = json.loads(message)
            self.calls.append(tuple(order["words"]))
            streams = Streams(*descriptors)
            code = await self._run(order["words"], streams, Path(order["directory"]), order["environment"])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
            with contextlib.suppress(OSError):
                door.send(str(code).encode())
            door.close()

    async def _run(self, words: Sequence[str], streams: Streams, directory: Path, environment: dict[str, str]) -> int:
        try:
            call = understood(words)
            api = session(environment)
            async with api.client:
                here = Session(api, streams, directory, self.ssh_port, self.least_secrets, self.clock)
                return await perform(here, call)
        except (UsageError, RefusedError, httpx.HTTPError) as error:
            streams.complain(str(error))
            return 1


@contextlib.asynccontextmanager
async def simulated_flyctl(folder: Path, *, ssh_port: int, clock: Clock) -> AsyncIterator[SimulatedFlyctl]:
    """A program `fly` in `folder` that works while the context is open; put the folder on PATH."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    flyctl = SimulatedFlyctl(folder, ssh_port, clock)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        path = str(folder / "door")
        listening.bind(path)
        listening.listen(16)
        listening.setblocking(False)
        _write_program(folder / "fly", path)
        async with asyncio.TaskGroup() as group:
            accepting = group.create_task(_accept(listening, flyctl, group))
            try:
                yield flyctl
            finally:
                accepting.cancel()


async def _accept(listening: socket.socket, flyctl: SimulatedFlyctl, group: asyncio.TaskGroup) -> None:
    while True:
        door, _ = await asyncio.get_running_loop().sock_accept(listening)
        door.setblocking(True)
        group.create_task(flyctl.answer(door))


def _write_program(path: Path, door: str) -> None:
    script = path.with_name("fly.py")
    script.write_text(_SCRIPT.format(door=door, broken=_BROKEN), encoding="utf-8")
    start = f'exec {shlex.quote(sys.executable)} -I -S {shlex.quote(str(script))} "$@"'
    path.write_text(f"#!/bin/sh\n{start}\n", encoding="utf-8")
    path.chmod(0o755)

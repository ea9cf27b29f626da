"""`fly ssh console -C`: a command on a machine, with the streams of the one who runs it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import asyncssh

from flykeep.testing.flyctl.api import RefusedError
from flykeep.testing.flyctl.arguments import Invocation, UsageError
from flykeep.testing.flyctl.session import Session

_CHUNK_BYTES = 64 * 1024


async def run(session: Session, call: Invocation, app: str) -> int:
    """Run the command; its exit status. The host key is not looked at, as flyctl does not."""
    if not call.text("command"):
        raise UsageError("an interactive console is not simulated")
    address = await _address(session, app, call.text("machine"))
    key = asyncssh.generate_private_key("ssh-ed25519")
    line = await session.api.certificate(app, key.export_public_key("openssh").decode())
    certificate = asyncssh.import_certificate(line)
    async with asyncssh.connect(
        address,
        session.ssh_port,
        username="root",
        client_keys=[(key, certificate)],
        known_hosts=None,
        agent_path=None,
        config=None,
    ) as connection:
        process: Any = await connection.create_process(call.text("command"), encoding=None)
        feeding = asyncio.create_task(_feed(session.streams.stdin, process))
        try:
            await asyncio.gather(
                _carry(process.stdout, session.streams.stdout), _carry(process.stderr, session.streams.stderr)
            )
            ended = await process.wait()
        finally:
            feeding.cancel()
    return 1 if ended.exit_status is None else int(ended.exit_status)


async def _address(session: Session, app: str, machine_id: str) -> str:
    machines = [row for row in await session.api.ask("GET", f"/apps/{app}/machines") if row["state"] == "started"]
    if not machines:
        raise RefusedError(0, f"app {app} has no started VMs.")
    chosen = [row for row in machines if machine_id in {"", row["id"]}]
    if not chosen:
        raise RefusedError(0, f'--machine="{machine_id}" not found/started')
    return str(chosen[0]["private_ip"])


async def _feed(source: int, process: Any) -> None:
    """Hand on what comes, and its end: flyctl closes the command's input with its own."""
    while chunk := await asyncio.to_thread(os.read, source, _CHUNK_BYTES):
        process.stdin.write(chunk)
        await process.stdin.drain()
    process.stdin.write_eof()


async def _carry(source: Any, target: int) -> None:
    while chunk := await source.read(_CHUNK_BYTES):
        while chunk:
            chunk = chunk[await asyncio.to_thread(os.write, target, chunk) :]

"""The SSH servers of simulated machines: each on its machine's address, all on one port, open to certificates only."""

from __future__ import annotations

import asyncio
import functools
import signal
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import asyncssh

from flykeep.testing.flysim.commands import CommandRunner, end, kill
from flykeep.testing.flysim.faults import Fault, FaultKind, FaultScript
from flykeep.testing.flysim.model import Machine, Refusal
from flykeep.testing.flysim.world import World

_CHUNK_BYTES = 256 * 1024
_MAX_HOURS = 72
_PORT_TRIES = 20
_USERS = frozenset({"root", "fly"})


class CertificateAuthority:
    """Signs user certificates; one key per set of apps, so that a certificate opens only the apps it was issued for."""

    def __init__(self) -> None:
        self._keys: dict[frozenset[str], asyncssh.SSHKey] = {}
        self._scopes: dict[bytes, frozenset[str]] = {}
        self.is_issuing_expired = False
        self.issued: list[str] = []

    def issue(self, *, public_key: str, principals: Iterable[str], apps: Iterable[str], valid_hours: int) -> str:
        """A certificate line for a public key line.

        Validity counts on the host's own clock, for SSH software checks it there.
        """
        if not 1 <= valid_hours <= _MAX_HOURS:
            raise Refusal(422, f"validHours must be between 1 and {_MAX_HOURS}")
        try:
            key = asyncssh.import_public_key(public_key)
        except asyncssh.KeyImportError as error:
            raise Refusal(422, "publicKey is not an authorized_keys line") from error
        validity = ("-2h", "-1h") if self.is_issuing_expired else ("-5m", f"+{valid_hours}h")
        certificate = self._key_for(frozenset(apps)).generate_user_certificate(
            key, "flysim", principals=list(principals), valid_after=validity[0], valid_before=validity[1]
        )
        line = certificate.export_certificate("openssh").decode().strip()
        self.issued.append(line)
        return line

    def accepts(self, signing_key: asyncssh.SSHKey, app: str) -> bool:
        """Whether a certificate signed by this key opens machines of an app."""
        scope = self._scopes.get(signing_key.public_data)
        return scope is not None and (not scope or app in scope)

    @property
    def organization_key(self) -> str:
        """The public key of the organization's authority, as one line."""
        return self._key_for(frozenset()).export_public_key("openssh").decode().strip()

    def _key_for(self, apps: frozenset[str]) -> asyncssh.SSHKey:
        if apps not in self._keys:
            key = asyncssh.generate_private_key("ssh-ed25519")
            self._keys[apps] = key
            self._scopes[key.public_data] = apps
        return self._keys[apps]


class _Door(asyncssh.SSHServer):
    """Lets root in with a certificate of the authority, and nobody else."""

    def __init__(self, farm: SshFarm, machine: Machine) -> None:
        self._farm = farm
        self._machine = machine
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._farm.connections.setdefault(self._machine.id, set()).add(conn)
        fault = self._farm.faults.take(action="ssh.connect", app=self._machine.app)
        if fault is not None and fault.kind is FaultKind.SSH_REFUSE:
            conn.abort()
        elif fault is not None and fault.kind is FaultKind.SSH_NEW_HOST_KEY:
            self._farm.renew_host_key(self._machine)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._farm.connections.get(self._machine.id, set()).discard(self._connection)

    def begin_auth(self, _username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username in _USERS and self._farm.authority.accepts(key, self._machine.app)


@dataclass(slots=True)
class _Listener:
    address: str
    generation: int
    acceptor: asyncssh.SSHAcceptor | None
    opening: asyncio.Task[None] | None
    sock: socket.socket


class SshFarm:
    """Keeps one listener open for every started machine on a healthy host."""

    def __init__(
        self, *, world: World, runner: CommandRunner, faults: FaultScript, authority: CertificateAuthority
    ) -> None:
        self._world = world
        self._runner = runner
        self.faults = faults
        self.authority = authority
        self._listeners: dict[str, _Listener] = {}
        self._host_keys: dict[tuple[str, int], asyncssh.SSHKey] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.connections: dict[str, set[asyncssh.SSHServerConnection | None]] = {}
        self.port = 0

    async def open(self) -> None:
        """Choose the common port and open all started machines."""
        for machine in self._world.machines.values():
            self.follow(machine)
        self._world.machine_changed.append(self.follow)
        if not self.port:
            with self._bind("127.42.255.254") as probe:
                self.port = probe.getsockname()[1]
        await self.settled()

    async def close(self) -> None:
        """Close all listeners and connections."""
        for machine_id in list(self._listeners):
            self._shut(machine_id)
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=5)
        if self._serving:
            await asyncio.wait(set(self._serving), timeout=5)

    async def settled(self) -> None:
        """Return once every listener asked for is open."""
        opening = [listener.opening for listener in self._listeners.values() if listener.opening is not None]
        if opening:
            await asyncio.wait(opening, timeout=10)

    def follow(self, machine: Machine) -> None:
        """Open, move or close a machine's server according to its state."""
        is_reachable = machine.state == "started" and machine.host_status != "unreachable"
        listener = self._listeners.get(machine.id)
        is_current = listener is not None and (listener.address, listener.generation) == (
            machine.private_ip,
            machine.host_key_generation,
        )
        if is_reachable and is_current:
            return
        if listener is not None:
            self._shut(machine.id)
        if is_reachable:
            self._open(machine)

    def host_key(self, machine: Machine) -> asyncssh.SSHKey:
        """The ed25519 key a machine presents now."""
        slot = (machine.id, machine.host_key_generation)
        if slot not in self._host_keys:
            self._host_keys[slot] = asyncssh.generate_private_key("ssh-ed25519")
        return self._host_keys[slot]

    def renew_host_key(self, machine: Machine) -> None:
        """Present another host key from the next connection on, without closing anything."""
        machine.host_key_generation += 1
        listener = self._listeners.get(machine.id)
        if listener is not None and listener.acceptor is not None:
            listener.generation = machine.host_key_generation
            listener.acceptor.update(server_host_keys=[self.host_key(machine)])

    def _bind(self, address: str) -> socket.socket:
        tries = 1 if self.port else _PORT_TRIES
        for attempt in range(tries):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((address, self.port))
            except OSError:
                sock.close()
                if attempt + 1 == tries:
                    raise
            else:
                return sock
        raise AssertionError

    def _open(self, machine: Machine) -> None:
        sock = self._bind(machine.private_ip)
        self.port = sock.getsockname()[1]
        sock.listen(64)
        sock.setblocking(False)
        listener = _Listener(machine.private_ip, machine.host_key_generation, None, None, sock)
        self._listeners[machine.id] = listener
        listener.opening = asyncio.get_running_loop().create_task(self._accept(machine, listener))

    async def _accept(self, machine: Machine, listener: _Listener) -> None:
        acceptor = await asyncssh.listen(
            sock=listener.sock,
            server_factory=functools.partial(_Door, self, machine),
            server_host_keys=[self.host_key(machine)],
            process_factory=functools.partial(self._serve, machine),
            encoding=None,
            line_editor=False,
            allow_pty=False,
            agent_forwarding=False,
            compression_algs=["none"],
            password_auth=False,
            kbdint_auth=False,
        )
        if self._listeners.get(machine.id) is listener:
            listener.acceptor = acceptor
        else:
            acceptor.close()

    def _shut(self, machine_id: str) -> None:
        listener = self._listeners.pop(machine_id)
        listener.sock.close() if listener.acceptor is None else listener.acceptor.close()
        for connection in self.connections.pop(machine_id, set()):
            if connection is not None:
                connection.abort()
        if listener.opening is not None and not listener.opening.done():
            listener.opening.cancel()

    async def _serve(self, machine: Machine, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Serve one session in a task of ours: asyncssh drops its own when the connection is lost."""
        task = asyncio.create_task(self._session(machine, process))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        await asyncio.shield(task)

    async def _session(self, machine: Machine, process: asyncssh.SSHServerProcess[bytes]) -> None:
        connection = process.channel.get_connection()
        fault = self.faults.take(action="ssh.exec", app=machine.app)
        argv = ["/bin/sh", "-c", process.command] if process.command is not None else ["/bin/sh"]
        child = await self._runner.start(machine, argv)
        try:
            await self._pump(process, child, fault)
            code = await child.wait()
            if code < 0:
                process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
            else:
                process.exit(code)
        except (BrokenPipeError, ConnectionError, asyncssh.Error):
            connection.abort()
        finally:
            await end(child)

    @staticmethod
    async def _pump(
        process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process, fault: Fault | None
    ) -> None:
        """Carry the three streams until the command has closed its output; raises where the client went away."""
        cut_at = fault.after_bytes if fault is not None and fault.kind is FaultKind.SSH_CUT else None
        beside = [asyncio.create_task(_feed(process, child)), asyncio.create_task(_end_with_channel(process, child))]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_carry(child.stdout, process.stdout, cut_at))
                group.create_task(_carry(child.stderr, process.stderr, None))
        except* (BrokenPipeError, ConnectionError, asyncssh.Error) as errors:
            raise ConnectionResetError from errors
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside, timeout=5)


async def _carry(source: asyncio.StreamReader | None, sink: asyncssh.SSHWriter[bytes], cut_at: int | None) -> None:
    """Copy a stream; where `cut_at` bytes have passed, lose the connection."""
    passed = 0
    while source is not None and (chunk := await source.read(_CHUNK_BYTES)):
        if cut_at is not None and passed + len(chunk) >= cut_at:
            sink.write(chunk[: cut_at - passed])
            await sink.drain()
            raise ConnectionResetError
        passed += len(chunk)
        sink.write(chunk)
        await sink.drain()


async def _end_with_channel(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """End the command when the client goes away, as a hang-up does."""
    await process.channel.wait_closed()
    kill(child, signal.SIGHUP)
    kill(child)


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Copy the client's input until it ends or the connection is lost, which hangs the command up."""
    stdin = child.stdin
    if stdin is None:
        return
    try:
        while chunk := await process.stdin.read(_CHUNK_BYTES):
            stdin.write(chunk)
            await stdin.drain()
    except (asyncssh.Error, ConnectionError):
        pass  # either side is gone; the streams tell which
    finally:
        stdin.close()

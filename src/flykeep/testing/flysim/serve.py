"""A running simulator: HTTP and SSH on loopback around one world."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyrage
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from flykeep.ports.clock import Clock, IdSource
from flykeep.testing.flysim.commands import CommandRunner, Isolation, detect_isolation
from flykeep.testing.flysim.config_file import (
    WEBHOOK_SECRET_VARIABLE,
    WEBHOOK_URL_VARIABLE,
    ConfigTarget,
    config_text,
)
from flykeep.testing.flysim.faults import FaultScript
from flykeep.testing.flysim.graph import GraphApi
from flykeep.testing.flysim.http_front import Connections, Front
from flykeep.testing.flysim.journal import ReceivedWebhook, RecordedRequest, append_line
from flykeep.testing.flysim.machines import Machines
from flykeep.testing.flysim.model import HIDDEN_VOLUME_STATES
from flykeep.testing.flysim.program import WorkerProgram
from flykeep.testing.flysim.scenario import Scenario
from flykeep.testing.flysim.ssh import CertificateAuthority, SshFarm
from flykeep.testing.flysim.world import World

REQUEST_LOG_VARIABLE = "FLYKEEP_SIM_REQUEST_LOG"
_OWN_ENTRIES = ("volumes", "snapshots", "machines", "program")


@dataclass(frozen=True, slots=True)
class AnnouncedVolume:
    """A volume in use: where its bytes lie and where its machine sees them."""

    id: str
    app: str
    name: str
    machine_id: str | None
    mount: str | None
    directory: str


@dataclass(frozen=True, slots=True)
class SimAnnouncement:
    """Everything a client needs to know about a running simulator."""

    flaps_base_url: str
    api_base_url: str
    token: str = field(repr=False)
    org: str
    env: dict[str, str] = field(repr=False)
    volumes: tuple[AnnouncedVolume, ...]

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


class _Server(uvicorn.Server):
    """Leaves signals to the program it runs in, and stops at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End `serve`."""
        self.should_exit = self.force_exit = True
        self._stopping.set()

    async def main_loop(self) -> None:
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for task in list(self.server_state.tasks):
            task.cancel()
        if self.server_state.tasks:
            await asyncio.wait(set(self.server_state.tasks), timeout=5)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class FlySim:
    """A simulated Fly. Start it with `start`; what it was asked is in `requests` and `webhooks`.

    `start` empties `volumes`, `snapshots`, `machines` and `program` in the state directory: a restart is a fresh Fly.
    Everything else there (configuration, database, store, age identity) belongs to the client; the identity is kept.
    """

    def __init__(self, *, world: World, faults: FaultScript, port: int, request_log: Path | None) -> None:
        self.world = world
        self.faults = faults
        self.requests: list[RecordedRequest] = []
        self.webhooks: list[ReceivedWebhook] = []
        self.org = world.scenario.org
        self.token = "FlyV1 " + ",".join(world.add_grant().macaroons)
        self.flaps_base_url = self.api_base_url = f"http://127.0.0.1:{port}"
        self.webhook_secret = world.ids.token()
        self.authority = CertificateAuthority()
        self.program = WorkerProgram.running(world.directory / "program")
        self._request_log = request_log
        self._farm: SshFarm | None = None
        self._recipient = ""

    @classmethod
    def start(
        cls,
        *,
        state_directory: Path,
        clock: Clock,
        ids: IdSource,
        scenario: Scenario | None = None,
        port: int = 0,
        request_log: Path | None = None,
    ) -> AbstractAsyncContextManager[FlySim]:
        """A simulator that serves while the context is open.

        `port` 0 takes a free one. Each request is appended to `request_log`, or to a file of its own in the directory
        that FLYKEEP_SIM_REQUEST_LOG names.
        """
        wanted = scenario if scenario is not None else Scenario.shipped()
        return _running(state_directory.absolute(), clock, ids, wanted, port, request_log)

    def attach(self, farm: SshFarm) -> None:
        """Name the SSH servers; called once, by `start`."""
        self._farm = farm

    @property
    def ssh_port(self) -> int:
        """The port of every machine's SSH server."""
        assert self._farm is not None
        return self._farm.port

    @property
    def ssh(self) -> SshFarm:
        """The SSH servers; `await sim.ssh.settled()` after a lever that starts or moves a machine."""
        assert self._farm is not None
        return self._farm

    @property
    def directory(self) -> Path:
        """The state directory."""
        return self.world.directory

    def keep_request(self, request: RecordedRequest) -> None:
        """Record one request."""
        self.requests.append(request)
        if self._request_log is not None:
            append_line(self._request_log, request.to_json())

    def keep_webhook(self, webhook: ReceivedWebhook) -> None:
        """Record one delivery."""
        self.webhooks.append(webhook)
        append_line(self.directory / "webhooks.jsonl", webhook.to_json())

    def environment(self) -> dict[str, str]:
        """The variables a client must set."""
        return {
            "FLY_API_TOKEN": self.token,
            "FLY_FLAPS_BASE_URL": self.flaps_base_url,
            "FLY_API_BASE_URL": self.api_base_url,
            "FLYKEEP_CONFIG": str(self.directory / "config.toml"),
            WEBHOOK_URL_VARIABLE: f"{self.flaps_base_url}/_sim/webhook",
            WEBHOOK_SECRET_VARIABLE: self.webhook_secret,
        }

    def announcement(self) -> SimAnnouncement:
        """What `flykeep simulate` prints."""
        return SimAnnouncement(
            flaps_base_url=self.flaps_base_url,
            api_base_url=self.api_base_url,
            token=self.token,
            org=self.org,
            env=self.environment(),
            volumes=tuple(self._announced()),
        )

    def write_config(self) -> Path:
        """Write `DIR/config.toml` and, where there is none yet, `DIR/age-identity.txt`; answers the former's path."""
        targets = [
            ConfigTarget(volume.app, volume.name, volume.mount or "/data")
            for volume in self._announced()
            if (volume.app, volume.name) not in self.world.unprotected
        ]
        text = config_text(
            org=self.org,
            ssh_port=self.ssh_port,
            directory=self.directory,
            recipient=self._own_recipient(),
            targets=targets,
        )
        store = self.directory / "store"
        store.mkdir(exist_ok=True)
        self.program.folders.append(store)
        path = self.directory / "config.toml"
        path.write_text(text, encoding="utf-8")
        return path

    def _own_recipient(self) -> str:
        path = self.directory / "age-identity.txt"
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            secret = next(line for line in lines if line.startswith("AGE-SECRET-KEY-"))
            return str(pyrage.x25519.Identity.from_str(secret).to_public())
        identity = pyrage.x25519.Identity.generate()
        recipient = str(identity.to_public())
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as sink:
            sink.write(f"# public key: {recipient}\n{identity}\n")
        return recipient

    def _announced(self) -> list[AnnouncedVolume]:
        rows = []
        for volume in self.world.volumes.values():
            if volume.state in HIDDEN_VOLUME_STATES or self.world.apps[volume.app].org != self.org:
                continue
            machine = self.world.machines.get(volume.attached_machine_id or "")
            mount = machine.mount_path if machine else None
            rows.append(
                AnnouncedVolume(
                    volume.id, volume.app, volume.name, volume.attached_machine_id, mount, str(volume.directory)
                )
            )
        return rows


@contextlib.asynccontextmanager
async def _running(
    directory: Path, clock: Clock, ids: IdSource, scenario: Scenario, port: int, request_log: Path | None
) -> AsyncIterator[FlySim]:
    isolation = await asyncio.to_thread(detect_isolation)
    _clear(directory)
    world = World(
        directory=directory, clock=clock, ids=ids, scenario=scenario, sees_mounts=isolation is not Isolation.NONE
    )
    faults = FaultScript()
    faults.add(*scenario.faults)
    listening = socket.create_server(("127.0.0.1", port), backlog=256)
    sim = FlySim(
        world=world,
        faults=faults,
        port=listening.getsockname()[1],
        request_log=request_log or _default_log(directory, listening.getsockname()[1]),
    )
    runner = CommandRunner(world, isolation, sim.program)
    machines = Machines(world, runner)
    farm = SshFarm(world=world, runner=runner, faults=faults, authority=sim.authority)
    sim.attach(farm)
    connections = Connections()
    front = Front(
        world=world,
        machines=machines,
        graph=GraphApi(world, sim.authority),
        faults=faults,
        records=sim,
        connections=connections,
    )
    server = _Server(_uvicorn_config(front, connections))
    try:
        await farm.open()
        async with _serving(server, listening):
            yield sim
        if front.crashes:
            raise ExceptionGroup("the simulator has a defect", front.crashes)
    finally:
        listening.close()
        await farm.close()
        await machines.close()
        await runner.close()
        world.close()


def _clear(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in _OWN_ENTRIES:
        shutil.rmtree(directory / name, ignore_errors=True)


@contextlib.asynccontextmanager
async def _serving(server: _Server, listening: socket.socket) -> AsyncIterator[None]:
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.stop()
        await asyncio.wait([task], timeout=10)


def _uvicorn_config(front: Front, connections: Connections) -> uvicorn.Config:
    class Protocol(H11Protocol):
        """Lets faults reach the connection."""

        def connection_made(self, transport: Any) -> None:
            connections.opened(transport)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.closed(self.transport)
            super().connection_lost(exc)

    return uvicorn.Config(
        front.application(),
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )


def _default_log(directory: Path, port: int) -> Path | None:
    folder = os.environ.get(REQUEST_LOG_VARIABLE)
    if not folder:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder) / f"requests-{os.getpid()}-{port}-{abs(hash(directory)):x}.jsonl"

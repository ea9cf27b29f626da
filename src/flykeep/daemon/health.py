"""`/healthz`: the loop turns; `/readyz`: state and first check are there. Says nothing about backups: `status` does."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from datetime import timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from flykeep.domain.errors import ConfigError, FlykeepError
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock

_ALIVE_WITHIN = timedelta(seconds=150)
_PING_LIMIT = timedelta(seconds=5)


@dataclass(slots=True)
class Pulse:
    """When the ticker last turned; the daemon's own sign of life."""

    clock: Clock
    _beat: float | None = None

    def beat(self) -> None:
        self._beat = self.clock.monotonic()

    @property
    def is_alive(self) -> bool:
        return self._beat is not None and self.clock.monotonic() - self._beat < _ALIVE_WITHIN.total_seconds()


def build_app(*, pulse: Pulse, catalog: Catalog) -> Starlette:
    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"alive": pulse.is_alive}, status_code=200 if pulse.is_alive else 503)

    async def readyz(_: Request) -> JSONResponse:
        try:
            async with asyncio.timeout(_PING_LIMIT.total_seconds()):
                await catalog.ping()
        except (FlykeepError, TimeoutError) as error:
            return JSONResponse({"ready": False, "why": type(error).__name__}, status_code=503)
        return JSONResponse({"ready": pulse.is_alive}, status_code=200 if pulse.is_alive else 503)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz)])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises ConfigError where that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error}", hint="Change `bind` under [http]."
        ) from error
    listener.setblocking(False)
    return listener


async def serve(app: Starlette, listener: socket.socket) -> None:
    """Answer on `listener` until cancelled."""
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # signals are the supervisor's
    await server._serve([listener])  # noqa: SLF001 - serve() would take over the signals

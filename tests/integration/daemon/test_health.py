"""/healthz and /readyz say whether the loop turns, and nothing about backups."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from flykeep.daemon.health import Pulse, build_app, listen, serve
from flykeep.domain.errors import ConfigError, StateError
from tests.integration.jobs.parts import Parts


@asynccontextmanager
async def asked(pulse: Pulse, catalog: Any) -> AsyncIterator[httpx.AsyncClient]:
    listener = listen("127.0.0.1", 0)
    task = asyncio.create_task(serve(build_app(pulse=pulse, catalog=catalog), listener))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
        yield client
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    listener.close()


async def test_a_daemon_is_alive_from_its_first_tick_until_ticks_stop(parts: Parts) -> None:
    pulse = Pulse(parts.clock)
    async with asked(pulse, parts.catalog) as client:
        codes = [(await client.get("/healthz")).status_code]
        pulse.beat()
        codes += [(await client.get("/healthz")).status_code, (await client.get("/readyz")).status_code]
        await parts.clock.sleep(timedelta(minutes=3))
        codes += [(await client.get("/healthz")).status_code, (await client.get("/readyz")).status_code]
    assert codes == [503, 200, 200, 503, 503]


async def test_a_daemon_without_its_state_is_alive_but_not_ready(parts: Parts) -> None:
    class Broken:
        async def ping(self) -> None:
            raise StateError("gone")

    pulse = Pulse(parts.clock)
    pulse.beat()
    async with asked(pulse, Broken()) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "why": "StateError"})
        assert (await client.get("/healthz")).status_code == 200


def test_a_port_that_is_taken_is_a_configuration_error_that_names_the_key() -> None:
    first = listen("::1", 0)
    with pytest.raises(ConfigError, match="cannot listen on ::1") as refused:
        listen("::1", first.getsockname()[1])
    first.close()
    assert "[http]" in refused.value.next_step

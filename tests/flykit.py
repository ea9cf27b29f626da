"""flykeep as people run it: its command line in processes of their own, against a simulator in this one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from flykeep.adapters.system import SystemClock, SystemIds
from flykeep.testing.clock import ManualClock
from flykeep.testing.flysim.scenario import Scenario
from flykeep.testing.flysim.serve import FlySim
from tests.databases import place_empty_database

T = TypeVar("T")
_LIMIT_S = 90
_INHERITED = ("PATH", "HOME", "TMPDIR", "COVERAGE_PROCESS_START")


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON object on standard output; fails where there is anything else."""
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found


@dataclass
class Kit:
    """One simulator and the environment its clients need."""

    sim: FlySim
    directory: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return kept | {"LANG": "C.UTF-8"} | self.sim.environment() | self.extra

    @property
    def config(self) -> Path:
        return self.sim.directory / "config.toml"

    def edit(self, old: str, new: str) -> None:
        """Change the configuration file; fails where `old` is not in it."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "flykeep",
            *arguments,
            env=self.environment,
            cwd=self.directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str) -> Ended:
        """Run one verb to its end."""
        process = await self.start(*arguments)
        async with asyncio.timeout(_LIMIT_S):
            stdout, stderr = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, stdout.decode(), stderr.decode())

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[Daemon]:
        """A living daemon; killed at the end where it still lives."""
        process = await self.start("run", "-v")
        daemon = Daemon(process)
        reader = asyncio.create_task(daemon.read())
        try:
            await daemon.logged("daemon.started")
            yield daemon
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reader


@dataclass
class Daemon:
    process: asyncio.subprocess.Process
    events: list[dict[str, Any]] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def read(self) -> None:
        """Collect log events until the process ends."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            text = line.decode()
            self.raw.append(text)
            with contextlib.suppress(json.JSONDecodeError):
                self.events.append(json.loads(text))
            async with self._news:
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def logged(self, event: str, **wanted: Any) -> dict[str, Any]:
        """The first event of this name with these values; waits for it."""

        def found() -> dict[str, Any] | None:
            for one in self.events:
                if one.get("event") == event and all(one.get(name) == value for name, value in wanted.items()):
                    return one
            return None

        async with asyncio.timeout(_LIMIT_S), self._news:
            await self._news.wait_for(lambda: found() is not None or self.process.returncode is not None)
        match = found()
        assert match is not None, f"no {event} {wanted} in:\n" + "".join(self.raw[-40:])
        return match

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(_LIMIT_S):
            return await self.process.wait()

    def kill(self) -> None:
        self.process.kill()


@contextlib.asynccontextmanager
async def flykeep(directory: Path, *, scenario: Scenario | None = None) -> AsyncIterator[Kit]:
    """A running simulator with its configuration written, and flykeep to run against it."""
    async with FlySim.start(
        state_directory=directory / "fly", clock=SystemClock(), ids=SystemIds(), scenario=scenario
    ) as sim:
        sim.write_config()
        place_empty_database(sim.directory / "flykeep.db")
        yield Kit(sim, directory)


async def driven(clock: ManualClock, work: Awaitable[T], *, step: timedelta = timedelta(seconds=1)) -> T:
    """The result of `work`, with `clock` moved on by `step` whenever somebody waits on it."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.sleep(0.002)
        if clock.sleeper_count:
            await clock.advance(step)
    return await task

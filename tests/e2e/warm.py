"""Verbs as processes that start warm: forked from a program that has imported flykeep once.

A verb costs a second of imports and a twentieth of a second of work; tests that run many would do nothing but import.
Whatever is about starting itself (help, signals, a terminal) starts cold, by `Kit.start`.
"""

# ruff: noqa: PLC0415 - only the program that forks imports what verbs need
from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from flykeep.testing.flysim.scenario import Scenario
from tests.flykit import Ended, Kit, flykeep

_LIMIT_S = 90
_ROOT = Path(__file__).parents[2]


@dataclass
class WarmKit(Kit):
    """A kit whose verbs are forked."""

    stem: asyncio.subprocess.Process | None = None
    waiting: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    count: int = 0

    async def run(self, *arguments: str) -> Ended:
        """Run one verb to its end; several may run at once."""
        assert self.stem is not None
        assert self.stem.stdin is not None
        self.count += 1
        number, files = self.count, [self.directory / f"verb-{self.count}.{name}" for name in ("out", "err")]
        order = {"id": number, "words": arguments, "env": self.environment, "cwd": str(self.directory)}
        self.waiting[number] = asyncio.get_running_loop().create_future()
        self.stem.stdin.write(json.dumps(order | {"files": [str(path) for path in files]}).encode() + b"\n")
        async with asyncio.timeout(_LIMIT_S):
            code = await self.waiting[number]
        return Ended(code, files[0].read_text(), files[1].read_text())

    async def listen(self) -> None:
        """Take in how verbs ended, until the program is gone."""
        assert self.stem is not None
        assert self.stem.stdout is not None
        async for line in self.stem.stdout:
            number, code = json.loads(line)
            self.waiting.pop(number).set_result(code)


@contextlib.asynccontextmanager
async def warm_flykeep(directory: Path, *, scenario: Scenario | None = None) -> AsyncIterator[WarmKit]:
    """A running simulator, and verbs that start warm."""
    async with flykeep(directory, scenario=scenario) as cold:
        stem = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.e2e.warm"),
            cwd=_ROOT,
            env=os.environ | {"PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        kit = WarmKit(cold.sim, cold.directory, cold.extra, stem=stem)
        listener = asyncio.create_task(kit.listen())
        try:
            yield kit
        finally:
            assert stem.stdin is not None
            stem.stdin.close()
            await stem.wait()
            await listener


def _serve() -> None:
    """Fork one verb per line of standard input; a go-between waits for each and tells its exit code."""
    import aiosqlite  # noqa: F401
    import anyio  # noqa: F401
    import httpcore  # noqa: F401

    import flykeep.bootstrap  # noqa: F401
    from flykeep.adapters.trust import trusted
    from flykeep.cli.main import run_command_line

    trusted()
    gc.freeze()  # so that looking for garbage does not copy every page into each child
    for line in sys.stdin:
        order = json.loads(line)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if os.fork():
            continue
        verb = os.fork()
        if verb:
            code = os.waitstatus_to_exitcode(os.waitpid(verb, 0)[1])
            os.write(1, json.dumps([order["id"], code]).encode() + b"\n")
            os._exit(0)
        _become(order["env"], order["cwd"], order["files"])
        code = run_command_line(order["words"])
        gc.freeze()
        sys.exit(code)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _become(environment: dict[str, str], folder: str, files: list[str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in enumerate(files, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)


if __name__ == "__main__":
    _serve()

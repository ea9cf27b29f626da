"""A person who follows a runbook: copies one block after the other into a shell, and stops where one fails."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from flykeep.domain.page import command_blocks
from flykeep.testing.flyctl.program import SimulatedFlyctl, simulated_flyctl
from flykeep.testing.flysim.serve import FlySim
from tests.integration.scratch.home import QuickClock

_LIMIT_S = 60
_MARK = "### "


@dataclass(frozen=True)
class Followed:
    """How far they came: what each block printed, and the exit status of the last."""

    code: int
    printed: dict[str, str]
    stderr: str

    @property
    def last(self) -> str:
        return list(self.printed)[-1]


@dataclass
class Person:
    """`folder` is where their terminal opens; `environment` is what their login left there."""

    folder: Path
    environment: dict[str, str]
    flyctl: SimulatedFlyctl

    def brings(self, app: str, name: str, text: str) -> None:
        """Put a file into the folder that the page will make, as the page tells them to."""
        place = self.folder / f"recover-{app}"
        place.mkdir(exist_ok=True)
        (place / name).write_text(text)

    async def follow(self, page: str, is_wanted: Callable[[str], bool]) -> Followed:
        """Paste every wanted block of the page, from top to bottom, into one terminal; the first failure ends it."""
        blocks = {name: text for name, text in command_blocks(page).items() if is_wanted(name)}
        script = "\n".join(f"echo '{_MARK}{name}'\n{text}" for name, text in blocks.items())
        process = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-c", script),
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_LIMIT_S):
            stdout, stderr = await process.communicate()
        assert process.returncode is not None
        return Followed(process.returncode, _by_block(stdout.decode()), stderr.decode())


def _by_block(printed: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in printed.split(f"{_MARK}")[1:]:
        name, _, text = part.partition("\n")
        found[name] = text
    return found


@asynccontextmanager
async def person(folder: Path, sim: FlySim) -> AsyncIterator[Person]:
    """Somebody with flyctl, logged in to the simulator."""
    await asyncio.to_thread(folder.mkdir)
    async with simulated_flyctl(folder / "bin", ssh_port=sim.ssh_port, clock=QuickClock()) as flyctl:
        nap = flyctl.folder / "sleep"  # the person waits, the test does not
        nap.write_text("#!/bin/sh\n")
        nap.chmod(0o755)
        path = f"{flyctl.folder}:{os.environ['PATH']}"
        login = {name: value for name, value in sim.environment().items() if name.startswith("FLY_")}
        yield Person(folder, {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8"} | login, flyctl)

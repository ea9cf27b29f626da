"""`flykeep demo` shows the main job, proves it, and finds it out when it was sabotaged."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.full import IS_FULL, full

LIMIT_S = 60
SECONDS = ("sabotaged", "SIGINT")
"""Of which only the whole suite asks."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def start(folder: Path, *words: str, path: str | None = None) -> asyncio.subprocess.Process:
    environment = {"PATH": path if path is not None else os.environ["PATH"], "TMPDIR": str(folder), "LANG": "C.UTF-8"}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "flykeep",
        "demo",
        *words,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def without_age_and_zstd(folder: Path) -> Path:
    """A PATH of this machine's programs but those two; the simulated machines need their own tar."""
    folder.mkdir()
    for directory in os.environ["PATH"].split(":"):
        for program in Path(directory).glob("*"):
            if program.name not in {"age", "zstd"} and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return folder


@dataclass(frozen=True)
class Demo:
    """One demo in a temporary folder of its own."""

    process: asyncio.subprocess.Process
    folder: Path

    async def ended(self) -> tuple[str, str]:
        stdout, stderr = await asyncio.wait_for(self.process.communicate(), LIMIT_S)
        return stdout.decode(), stderr.decode()

    async def served(self) -> str:
        """The document, once the daemon listens to signals."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        document = await asyncio.wait_for(self.process.stdout.readline(), LIMIT_S)
        while b"daemon.started" not in (line := await self.process.stderr.readline()):
            assert line, "it ended before it served"
        return document.decode()

    @property
    def left(self) -> list[str]:
        return [str(path) for path in self.folder.iterdir()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demos(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Demo]]:
    """All demos that are asked about at once: most of their time is waiting."""
    bare = str(without_age_and_zstd(tmp_path_factory.mktemp("bare") / "bin"))
    started: dict[str, Demo] = {}
    for name, words, path in (
        ("plain", (), None),
        ("sabotaged", ("--sabotage", "artifact", "--json"), None),
        ("SIGINT", ("--serve", "--json", "-v"), bare),
        ("SIGTERM", ("--serve", "--json", "-v"), None),
    ):
        if name in SECONDS and not IS_FULL:
            continue
        folder = tmp_path_factory.mktemp(name)
        started[name] = Demo(await start(folder, *words, path=path), folder)
    yield started
    for demo in started.values():
        if demo.process.returncode is None:
            demo.process.kill()
            await demo.process.wait()


async def test_the_demo_proves_the_main_job_within_a_minute_and_leaves_nothing(demos: dict[str, Demo]) -> None:
    text, errors = await demos["plain"].ended()

    assert demos["plain"].process.returncode == 0, errors
    for said in ("snapshot.stale", "volume.unprotected", "[CRITICAL] wiki", "byte for byte", "[RESOLVED] wiki"):
        assert said in text
    assert text.splitlines()[-1] == "every comparison held"
    assert demos["plain"].left == []


@full("a second whole demo")
async def test_a_sabotaged_artifact_ends_the_demo_with_its_name(demos: dict[str, Demo]) -> None:
    stdout, stderr = await demos["sabotaged"].ended()
    error = json.loads(stdout)["error"]

    assert demos["sabotaged"].process.returncode == 7
    assert f"artifact {error['facts']['export_id']}: " in stderr
    assert "every comparison held" not in stderr
    assert demos["sabotaged"].left == []


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, marks=full("as SIGTERM"), id="SIGINT"), pytest.param(signal.SIGTERM, id="SIGTERM")],
)
async def test_a_served_demo_stays_until_it_is_told_to_stop(demos: dict[str, Demo], number: signal.Signals) -> None:
    demo = demos[number.name]
    document = json.loads(await demo.served())

    demo.process.send_signal(number)
    await demo.ended()

    assert demo.process.returncode == 0
    assert document["is_proven"] is True
    assert demo.left == []
    is_bare = number is signal.SIGINT
    assert (document["opened_with"] == "the age, zstd and tar libraries (the programs are not installed)") is is_bare

"""What a person sees on a terminal: progress that goes away, colours that end, ids that are whole."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from tests.flykit import Kit, flykeep
from tests.full import full

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COLOURS = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kit(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kit]:
    async with flykeep(tmp_path_factory.mktemp("terminal")) as built:
        yield built


async def shown(kit: Kit, *words: str, columns: int = 80, **extra: str) -> tuple[int, str]:
    """The exit code and the raw bytes a terminal of that width received."""
    environment = kit.environment | {"TERM": "xterm-256color"} | extra
    return await asyncio.to_thread(on_terminal, words, environment, kit.directory, columns)


def on_terminal(words: tuple[str, ...], environment: Mapping[str, str], folder: Path, columns: int) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    command = [sys.executable, "-m", "flykeep", *words]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder) as process:
        os.close(theirs)
        received = bytearray()
        while chunk := read(ours):
            received += chunk
        os.close(ours)
    return process.returncode, received.decode()


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux: the last one on the other side has gone
        return b""


def screen(raw: str) -> list[str]:
    """The lines that stay: carriage returns, line erasure and cursor-up are carried out."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", raw):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token == "\x1b[2K":
            lines[row] = ""
        elif token == "\x1b[1A":
            row = max(0, row - 1)
        elif not _ESCAPES.fullmatch(token) and token != "\r":
            lines[row] += token
    return lines


async def test_the_progress_of_an_export_goes_away_and_its_result_stays(kit: Kit) -> None:
    code, raw = await shown(kit, "export", "my-crocbot/crocbot_data")
    lines = [line for line in screen(raw) if line.strip()]

    assert code == 0
    assert "export of my-crocbot/crocbot_data" in raw  # the moving line was there
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")  # the cursor is visible again
    assert re.fullmatch(r"artifact \w{26} in store offsite: 270 files, .* stored", lines[-1].strip())
    assert not any("export of my-crocbot" in line for line in lines)


@pytest.mark.parametrize(
    "columns", [60, *(pytest.param(width, marks=full("as 60 columns")) for width in (80, 120))], ids=str
)
async def test_no_id_is_cut_however_narrow_the_terminal_is(kit: Kit, columns: int) -> None:
    listed = (await kit.run("snapshots", "my-crocbot", "--json")).document["snapshots"]
    code, raw = await shown(kit, "snapshots", "my-crocbot", columns=columns)

    assert code == 0
    lines = screen(raw)
    assert all(any(row["snapshot"]["id"] in line for line in lines) for row in listed)
    assert max(map(len, lines)) <= columns


@full("four cold processes")
async def test_colours_are_for_terminals_and_not_for_those_who_do_not_want_them(kit: Kit) -> None:
    _, coloured = await shown(kit, "check")
    _, plain = await shown(kit, "check", NO_COLOR="1")
    piped = await kit.run("check")

    assert _COLOURS.search(coloured)
    assert not _COLOURS.search(plain)
    assert "\x1b" not in piped.stdout
    assert screen(plain)[0].rstrip() == piped.stdout.splitlines()[0]


async def test_json_on_a_terminal_is_still_one_object(kit: Kit) -> None:
    code, raw = await shown(kit, "snapshots", "my-crocbot", "--json")

    assert code == 0
    assert raw.strip().startswith('{"schema": "flykeep.snapshots/1"')
    assert raw.strip().endswith("}")

"""The tutorial's commands, executed by a shell as they stand on the page."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.full import full

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-backup-and-restore.md"
SERVING = "flykeep simulate --state demo-state | tee demo-fly.json"
MADE_BEFORE = ("make setup", 'export PATH="$PWD/.venv/bin:$PATH"')


def commands() -> list[str]:
    """What stands behind `$` in the console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


@full("a tutorial of a dozen cold commands takes half a minute")
async def test_the_tutorial_ends_with_the_same_files(tmp_path: Path) -> None:
    missing = [program for program in ("age", "zstd", "tar", "bash", "diff") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert set(commands()) >= {SERVING, *MADE_BEFORE}
    script = "\n".join(line for line in commands() if line not in {SERVING, *MADE_BEFORE})
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    simulator = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "flykeep", "simulate", "--state", "demo-state"),
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert simulator.stdout is not None
    try:
        line = await asyncio.wait_for(simulator.stdout.readline(), 60)
        (tmp_path / "demo-fly.json").write_bytes(line)
        assert json.loads(line)["env"]
        shell = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        simulator.terminate()
        await asyncio.wait_for(simulator.wait(), 30)

    assert shell.returncode == 0, shell.stdout + shell.stderr
    assert shell.stdout.count("the same\n") == 1
    assert "exit code 3" in shell.stdout
    assert simulator.returncode == 0

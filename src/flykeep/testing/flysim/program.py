"""The image of worker machines: the flykeep that serves the simulator, made visible inside them.

It works for an installed package and for a checkout with its environment anywhere: what the running interpreter was
started from is shown at the same paths, and a command `flykeep` starts it.
"""

from __future__ import annotations

import os
import shlex
import site
import sys
from dataclasses import dataclass, field
from pathlib import Path

WORKER_IMAGE = f"registry.fly.io/flykeep@sha256:{'5' * 64}"
"""Machines of this image know the command `flykeep`; no other machine does."""


@dataclass(frozen=True, slots=True)
class WorkerProgram:
    """`command_directory` holds the command. `folders` are those of directory stores, which a test may add to."""

    command_directory: Path
    directories: tuple[Path, ...]
    folders: list[Path] = field(default_factory=list)

    @classmethod
    def running(cls, command_directory: Path) -> WorkerProgram:
        """The program of this very process; writes the command."""
        given = [Path(one).absolute() for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
        modules = [Path(__file__).absolute().parents[3], *given]
        command_directory.mkdir(parents=True, exist_ok=True)
        script = command_directory / "flykeep"
        path = shlex.quote(os.pathsep.join(map(str, modules)))  # a checkout need not be installed
        # -P: the folder it is started in holds no modules.
        script.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {shlex.quote(sys.executable)} -P -m flykeep "$@"\n')
        script.chmod(0o755)
        return cls(command_directory, _outermost({*modules, *_interpreter()}))


def _interpreter() -> set[Path]:
    """Where the running interpreter and its libraries lie; links are followed one by one, for each must exist."""
    found = {Path(sys.prefix), Path(sys.base_prefix), *map(Path, site.getsitepackages())}
    program = Path(sys.executable)
    for _ in range(10):
        found.add(program.parent)
        if not program.is_symlink():
            break
        program = program.parent / program.readlink()
    return found


def _outermost(directories: set[Path]) -> tuple[Path, ...]:
    """Those that exist, none inside another, and never the root of everything."""
    there = {Path(os.path.normpath(one)) for one in directories if one.is_dir()} - {Path("/")}
    return tuple(sorted(one for one in there if not there & set(one.parents)))

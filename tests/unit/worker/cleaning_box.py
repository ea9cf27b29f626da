"""A volume in a directory, and the cleaning worker with a shell of one make on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flykeep.adapters.shells.running import Ended, RunningCommand
from flykeep.domain.errors import FlykeepError, SshError, WorkerError
from flykeep.ports.cleaning import CleanOrder, CleanResult, CleanWish
from flykeep.ports.fly import SshAccess
from flykeep.worker.channel import Flow
from flykeep.worker.clean import Cleaning
from flykeep.worker.machine import Machine

NOW_S = 1_772_000_000
DAY_S = 86_400
NOBODY = SshAccess("nowhere", 22, "root", "key", "certificate")
_APPLETS = ("sh", "find", "stat", "rm")


@dataclass(frozen=True)
class LocalShell:
    """`worker.machine.Shell` whose tools are looked for in `path` first."""

    path: str

    def start(self) -> RunningCommand:
        program = shutil.which("sh", path=self.path)
        assert program is not None
        return RunningCommand.start(["/usr/bin/env", "-i", f"PATH={self.path}", program], failure=WorkerError)

    def lost(self, ended: Ended) -> FlykeepError:
        return SshError("lost", facts={"code": ended.code})


@dataclass(frozen=True)
class Box:
    """`volume` is the mount; everything beside it must stay as it is."""

    volume: Path
    path: str

    def write(self, name: str | bytes, *, days: float = 40, content: bytes = b"12345") -> bytes:
        """A file that was last changed so many days ago."""
        path = self.at(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - paths are bytes
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(content)
        self.age(name, days)
        return os.fsencode(name)

    def at(self, name: str | bytes) -> bytes:
        return os.fsencode(self.volume) + b"/" + os.fsencode(name)

    def age(self, name: str | bytes, days: float) -> None:
        changed_s = NOW_S - int(days * DAY_S)
        os.utime(self.at(name), (changed_s, changed_s), follow_symlinks=False)

    def order(self, *globs: str, days: float = 30, is_applied: bool = True) -> CleanOrder:
        until_s = NOW_S - int(days * DAY_S)
        wishes = tuple(CleanWish(glob, until_s) for glob in globs)
        return CleanOrder(NOBODY, str(self.volume), wishes, is_applied, deadline_s=60.0)

    def clean(self, *globs: str, days: float = 30, is_applied: bool = True) -> CleanResult:
        return self.run(self.order(*globs, days=days, is_applied=is_applied))

    def run(self, order: CleanOrder) -> CleanResult:
        return Cleaning(order, Machine(LocalShell(self.path), flow=Flow(), stall_s=60.0)).run()

    def paths(self) -> set[bytes]:
        """All that is on the volume, folders too."""
        base = os.fsencode(self.volume)
        return {
            os.path.relpath(folder + b"/" + name, base)
            for folder, folders, files in os.walk(base)
            for name in (*folders, *files)
        }

    @contextmanager
    def freeing(self, *gone: str | bytes) -> Iterator[None]:
        """Exactly these go, and nothing comes."""
        before = self.paths()
        yield
        assert before - self.paths() == {os.fsencode(name) for name in gone}
        assert self.paths() <= before


def busybox_only(directory: Path) -> str:
    """A PATH on which every tool of the scripts is busybox's."""
    program = shutil.which("busybox", path="/usr/bin:/bin")
    assert program is not None
    directory.mkdir()
    for applet in _APPLETS:
        (directory / applet).symlink_to(program)
    return str(directory)

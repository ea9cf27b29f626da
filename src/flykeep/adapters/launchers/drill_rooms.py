"""Private directories for drills, below one place."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from flykeep.domain.errors import StateError
from flykeep.domain.ids import RunId

_PREFIX = "flykeep-drill-"
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class LocalDrillRooms:
    """`ports.drill_room.DrillRooms` in `place`, which is made where it is not there."""

    def __init__(self, place: Path) -> None:
        self._place = place

    async def free_bytes(self) -> int:
        return await asyncio.to_thread(self._free_bytes)

    @asynccontextmanager
    async def room(self, run_id: RunId) -> AsyncIterator[str]:
        """An empty directory nobody else can read; it is gone at the end of the context, unless the process died."""
        path = self._path(run_id)
        await asyncio.to_thread(_make, path)
        try:
            yield str(path)
        finally:
            removal = asyncio.ensure_future(self.clear(run_id))
            try:
                await asyncio.shield(removal)
            except asyncio.CancelledError:
                await asyncio.wait({removal})
                raise

    async def left(self) -> tuple[RunId, ...]:
        """The runs that have a directory."""
        return await asyncio.to_thread(self._left)

    async def clear(self, run_id: RunId) -> None:
        """Remove a run's directory with all it holds; already gone is fine."""
        await asyncio.to_thread(_remove, self._path(run_id))

    def _path(self, run_id: RunId) -> Path:
        if not _RUN_ID.fullmatch(run_id):
            raise StateError("this is no run's id", facts={"run": ascii(run_id)})
        return self._place / f"{_PREFIX}{run_id}"

    def _free_bytes(self) -> int:
        try:
            self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
            return shutil.disk_usage(self._place).free
        except OSError as error:
            raise _unusable(self._place, error) from error

    def _left(self) -> tuple[RunId, ...]:
        found = sorted(self._place.glob(f"{_PREFIX}*")) if self._place.is_dir() else []
        return tuple(
            RunId(path.name.removeprefix(_PREFIX)) for path in found if path.is_dir() and not path.is_symlink()
        )


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.mkdir(mode=0o700)
    except OSError as error:
        raise _unusable(path, error) from error


def _remove(path: Path) -> None:
    """Folders of an archive may forbid to be emptied; they are ours now."""
    if not path.is_dir() or path.is_symlink():
        return
    try:
        for folder in (path, *(one for one in path.rglob("*") if one.is_dir() and not one.is_symlink())):
            folder.chmod(0o700)
        shutil.rmtree(path)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> StateError:
    return StateError(
        f"the directory for drills cannot be used: {error.strerror}",
        hint="Give [drill] directory a folder that flykeep may write, with room for the contents of an artifact.",
        facts={"path": str(path)},
    )

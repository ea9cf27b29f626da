"""A database with what its last writer left unfinished, copied to where SQLite may recover it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LEFT_BY_WRITERS = ("-wal", "-journal")


def unfinished_of(database: Path) -> tuple[Path, ...]:
    """Its log or journal, where that holds anything: without it the file alone is not what was committed."""
    beside = (database.with_name(database.name + end) for end in _LEFT_BY_WRITERS)
    return tuple(path for path in beside if path.is_file() and path.stat().st_size)


@contextmanager
def copied_database(database: Path) -> Iterator[Path]:
    """A copy for this context, on this machine's own disk. Raises OSError where it has no room."""
    with tempfile.TemporaryDirectory(prefix="flykeep-probe-") as directory:
        for path in (database, *unfinished_of(database)):
            shutil.copyfile(path, Path(directory) / path.name)
        yield Path(directory) / database.name

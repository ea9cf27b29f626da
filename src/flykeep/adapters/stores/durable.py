"""Makes what was written to a directory survive a power cut; obstore's local store renames but never syncs."""

from __future__ import annotations

import os
from pathlib import Path


def sync_file(root: Path, key: str) -> None:
    """Force the file and every directory from it up to `root`'s parent to the disk.

    The parent too, since `root` itself may have just been created.
    """
    path = root / key
    _sync(path, os.O_RDONLY)
    for directory in path.parents:
        _sync(directory, os.O_RDONLY | os.O_DIRECTORY)
        if directory == root.parent:
            return


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

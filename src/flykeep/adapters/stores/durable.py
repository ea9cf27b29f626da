"""What obstore's local store leaves to us: forcing writes to the disk, and clearing up after a killed writer."""

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


def discard_staged(folder: Path) -> None:
    """Remove the files that writes stage in `folder` and below until they are whole: `<key>#<number>`.

    Source: object_store's local store, seen; its listings leave them out.
    """
    for path in folder.rglob("*#*"):
        if path.name.rpartition("#")[2].isdigit():
            path.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Whether an unpacked tree is what the index says of it beside its contents; and keeps it on disk."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import IntegrityError, UnpackError
from flykeep.worker.channel import Flow
from flykeep.worker.remote_tar import shown

_SET_ID = stat.S_ISUID | stat.S_ISGID
_NAMED = 3
_DOUBTS_AT_MOST = 10_000


def check_attributes(root: Path, entries: Iterable[IndexEntry], *, flow: Flow, has_owners: bool) -> None:
    """Raises IntegrityError where a mode, owner, date or link differs.

    `has_owners` is false where the unpacking process could not give files away: then owners and set-id bits are not.
    """
    doubts: dict[bytes, str] = {}
    for entry in entries:
        flow.check()
        doubts.pop(entry.path, None)  # the same path again: the last one stands
        if why := _difference(root, entry, has_owners=has_owners):
            doubts[entry.path] = why
        if len(doubts) > _DOUBTS_AT_MOST:
            break
    if doubts:
        named = "; ".join(f"{shown(path)} {why}" for path, why in list(doubts.items())[:_NAMED])
        raise IntegrityError(
            f"what was restored is not what the artifact says: {named}",
            hint="Do not use this volume. Try again; if it happens again, report it.",
            facts={"entries": len(doubts)},
        )


def keep_on_disk(root: Path) -> None:
    """Write everything through: a machine that is destroyed loses what only its memory holds. Raises UnpackError."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise UnpackError(
                f"the volume could not be written through: {os.strerror(ctypes.get_errno())}",
                facts={"directory": str(root)},
            )
    finally:
        os.close(descriptor)


def _difference(root: Path, entry: IndexEntry, *, has_owners: bool) -> str | None:
    path = root / os.fsdecode(entry.path)
    try:
        found = path.lstat()
        target = (root / os.fsdecode(entry.link_target or b"")).lstat() if entry.type is EntryType.HARDLINK else found
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if entry.type is EntryType.HARDLINK:
        return None if (target.st_ino, target.st_dev) == (found.st_ino, found.st_dev) else "is not the same file"
    if has_owners and (found.st_uid, found.st_gid) != (entry.uid, entry.gid):
        return f"belongs to {found.st_uid}:{found.st_gid} and not to {entry.uid}:{entry.gid}"
    if int(found.st_mtime_ns // 1_000_000_000) != entry.mtime_s:
        return "has another date"
    wanted = entry.mode if has_owners else entry.mode & ~_SET_ID
    if entry.type is not EntryType.SYMLINK and stat.S_IMODE(found.st_mode) != wanted:
        return f"has mode {stat.S_IMODE(found.st_mode):o} and not {wanted:o}"
    return None

"""Judges each entry of an archive before any of its content is written: what may be unpacked, and how much of it.

The guard speaks about names only; whoever writes must still open every folder without following links, because what
stands in the target may change meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from flykeep.domain.artifact import EntryType, IndexEntry, TarTotals
from flykeep.domain.errors import UnsafeArchiveError
from flykeep.domain.tar_stream import BLOCK, TarHeader

PATH_LIMIT_BYTES = 4095  # Linux' PATH_MAX and NAME_MAX, without the closing NUL; source: linux/limits.h
NAME_LIMIT_BYTES = 255
_OWNER_LIMIT = (1 << 32) - 2
_TIME_LIMIT_S = 1 << 40
_RATIO = 200
_SMALL_BYTES = 64 << 20
_LINKABLE = frozenset({EntryType.FILE, EntryType.SYMLINK, EntryType.FIFO})
_KNOWN = _LINKABLE | {EntryType.DIRECTORY, EntryType.HARDLINK}

Parts = tuple[bytes, ...]
"""A path below the target, taken apart: no empty part, no `.`, no `..`; the target itself is `()`."""


class OutsideLinks(StrEnum):
    """What becomes of symbolic links that point out of the tree. They are never followed either way."""

    KEEP = "keep"  # made again as they were: for what a trusted manifest describes
    REFUSE = "refuse"  # for archives of unknown origin, which could plant a way out for later


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """More than this is a bomb."""

    entries: int
    content_bytes: int
    tar_bytes: int

    @classmethod
    def announced(cls, totals: TarTotals) -> UnpackLimits:
        """Exactly what a manifest says its archive holds."""
        return cls(totals.entries, totals.content_bytes, totals.tar_bytes)

    @classmethod
    def of_tarball(cls, stored_bytes: int, *, ratio: int = _RATIO) -> UnpackLimits:
        """For an archive that announces nothing: `ratio` times its stored size, and 64 MiB however small it is."""
        tar_bytes = max(stored_bytes * ratio, _SMALL_BYTES)
        return cls(entries=tar_bytes // BLOCK, content_bytes=tar_bytes, tar_bytes=tar_bytes)


class UnpackGuard:
    """One archive's judge: ask it about every entry, in stream order.

    `mount` is the absolute path under which the tree will be seen: links to below it stay inside. Remembers each path,
    about 150 bytes an entry. Errors: UnsafeArchiveError, which names the entry and the reason.
    """

    def __init__(
        self, limits: UnpackLimits, *, outside_links: OutsideLinks = OutsideLinks.REFUSE, mount: bytes | None = None
    ) -> None:
        self._limits = limits
        self._outside_links = outside_links
        self._mount = mount
        self._kinds: dict[bytes, EntryType] = {b"": EntryType.DIRECTORY}
        self._entries = 0
        self._content_bytes = 0

    def admit(self, header: TarHeader) -> Parts:
        """Where the entry goes, below the target."""
        entry = header.entry
        self._count(entry)
        parts = _parts(entry, entry.path)
        if entry.type not in _KNOWN:
            _refuse(entry, "it is a device node, or of a kind that cannot be restored")
        if not (
            0 <= entry.uid <= _OWNER_LIMIT and 0 <= entry.gid <= _OWNER_LIMIT and abs(entry.mtime_s) <= _TIME_LIMIT_S
        ):
            _refuse(entry, "its owner or time is a number that no system has")
        if header.is_sparse:
            _refuse(entry, "it is stored with its holes left out, which flykeep does not unpack")
        path = b"/".join(parts)
        self._check_parents(entry, path)
        kind = entry.type
        if kind is EntryType.HARDLINK:
            kind = self._linked_kind(entry, path)
        elif kind is EntryType.SYMLINK:
            self._check_symlink(entry, depth=len(parts) - 1)
        if self._kinds.setdefault(path, kind) is not kind:
            _refuse(entry, f"an entry of type {self._kinds[path]} has the same path")
        return parts

    def check_tar_bytes(self, tar_bytes: int) -> None:
        """Judge the length of the tar stream so far; ask for each piece of it."""
        if tar_bytes > self._limits.tar_bytes:
            raise UnsafeArchiveError(
                f"The archive unpacks to more than {self._limits.tar_bytes} bytes.", facts={"entries": self._entries}
            )

    def link_source(self, entry: IndexEntry) -> Parts:
        """Where the target of an admitted hard link stands."""
        return _parts(entry, entry.link_target or b"")

    def _count(self, entry: IndexEntry) -> None:
        self._entries += 1
        self._content_bytes += entry.size_bytes
        if self._entries > self._limits.entries:
            _refuse(entry, f"the archive may hold {self._limits.entries} entries at most")
        if self._content_bytes > self._limits.content_bytes:
            _refuse(entry, f"the archive may hold {self._limits.content_bytes} bytes of files at most")

    def _check_parents(self, entry: IndexEntry, path: bytes) -> None:
        """Every folder above is one, or becomes one; a link there would lead the entry elsewhere."""
        folder = path.rpartition(b"/")[0]
        while folder not in self._kinds:  # above a folder that is known, all were judged before
            self._kinds[folder] = EntryType.DIRECTORY
            folder = folder.rpartition(b"/")[0]
        if self._kinds[folder] is not EntryType.DIRECTORY:
            _refuse(entry, f"{_shown(folder)}, above it, is of type {self._kinds[folder]} in the archive")

    def _linked_kind(self, entry: IndexEntry, path: bytes) -> EntryType:
        source = b"/".join(self.link_source(entry))
        kind = self._kinds.get(source)
        if kind not in _LINKABLE or source == path:
            _refuse(entry, f"it is a hard link to {_shown(entry.link_target)}, which the archive did not hold before")
        return kind

    def _check_symlink(self, entry: IndexEntry, *, depth: int) -> None:
        """`..` may stand in front only: behind another link the kernel would climb from where that one leads."""
        target = entry.link_target or b""
        if not target or b"\0" in target or len(target) > PATH_LIMIT_BYTES:
            _refuse(entry, "it is a symbolic link to what can be no path")
        if self._outside_links is OutsideLinks.KEEP:
            return
        if target.startswith(b"/"):
            mount = (self._mount or b"").rstrip(b"/")
            if not mount or not (target + b"/").startswith(mount + b"/"):
                _refuse(entry, f"it is a symbolic link to {_shown(target)}, outside of the tree")
            target, depth = target[len(mount) :], 0
        steps = [step for step in target.split(b"/") if step not in {b"", b"."}]
        climbs = next((at for at, step in enumerate(steps) if step != b".."), len(steps))
        if climbs > depth or b".." in steps[climbs:]:
            _refuse(entry, f"it is a symbolic link to {_shown(target)}, which can lead out of the tree")


def _parts(entry: IndexEntry, path: bytes) -> Parts:
    if path.startswith(b"/"):
        _refuse(entry, f"{_shown(path)} is an absolute path")
    if b"\0" in path or len(path) > PATH_LIMIT_BYTES:
        _refuse(entry, "its path is too long or holds a NUL")
    parts = tuple(part for part in path.split(b"/") if part not in {b"", b"."})
    for part in parts:
        if part == b"..":
            _refuse(entry, f"{_shown(path)} climbs out with `..`")
        if len(part) > NAME_LIMIT_BYTES:
            _refuse(entry, "a name in its path is too long")
    return parts


def _refuse(entry: IndexEntry, reason: str) -> NoReturn:
    raise UnsafeArchiveError(
        f"The archive is not safe to unpack: {reason}.",
        facts={"path": _shown(entry.path), "type": entry.type.value, "offset": entry.offset},
    )


def _shown(path: bytes | None) -> str:
    """Readable, and without what could move a terminal's cursor; long ones are cut."""
    text = (path or b"").decode("utf-8", "backslashreplace")[:300]
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)

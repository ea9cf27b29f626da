"""A restored volume as it lies on this machine: its entries, and when each of them changed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flykeep.domain.agreement import TOLERANCE, EntryFacts
from flykeep.domain.artifact import EntryType
from flykeep.worker.channel import Flow
from flykeep.worker.selection import Pattern, Selection, parents

ROOT = b"."
_CHUNK_BYTES = 1 << 20
_TYPES = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.DIRECTORY,
    stat.S_IFLNK: EntryType.SYMLINK,
    stat.S_IFIFO: EntryType.FIFO,
    stat.S_IFCHR: EntryType.CHAR,
    stat.S_IFBLK: EntryType.BLOCK,
}  # sockets are in no archive


@dataclass(frozen=True, slots=True)
class Found:
    """One entry; `above_s` is when a directory above it changed last, None for the root."""

    path: bytes
    facts: EntryFacts
    above_s: int | None


class Tree:
    """Everything below a directory and on its filesystem.

    A volume made of a snapshot carries the instants at which its entries changed; one that was copied or unpacked has
    those of the copy. `as_of_s` tells them apart: what changed later than the backup was made was changed by a copy.
    """

    def __init__(self, root: Path, *, as_of_s: float, flow: Flow) -> None:
        self.root = root.resolve()
        self._copied_from_s = as_of_s + TOLERANCE.total_seconds()
        self._flow = flow
        self._above = lru_cache(maxsize=4096)(self._changed_above)

    def entries(self) -> Iterator[Found]:
        """The root first, then all below it, directories before what they hold."""
        top = self.root.lstat()
        facts = self._facts(top, None)
        assert facts is not None  # it is a directory
        yield Found(ROOT, facts, None)
        yield from self._below(b"", above_s=facts.changed_s, device=top.st_dev)

    def matches(self, pattern: str) -> Iterator[Found]:
        """The entries that the glob names, without what lies below them."""
        regex = Pattern.of(pattern).tree.regex
        return (found for found in self.entries() if regex.fullmatch(found.path))

    def files_of(self, pattern: str) -> Iterator[Found]:
        """The regular files that the glob names, and those below the directories it names."""
        selection = Selected(Selection.of((pattern,), ()))
        for found in self.entries():
            if found.facts.type is EntryType.FILE and selection.holds(found.path):
                yield found

    def above(self, path: bytes) -> int | None:
        """When a directory above `path` changed last, of those that exist."""
        return self._above(path.rpartition(b"/")[0])

    def absolute(self, path: bytes) -> Path:
        return self.root / os.fsdecode(path)

    def inside(self, path: bytes) -> Path | None:
        """The file that a path really leads to, links followed; None where that is no file or lies outside."""
        try:
            real = self.absolute(path).resolve()
        except (OSError, RuntimeError):  # links in a circle
            return None
        return real if real.is_relative_to(self.root) and real.is_file() else None

    def fingerprint(self) -> int:
        """A number that another one differs from when anything was written, renamed, or given another mode since.

        It counts on the instant of change, which no program can set.
        """
        total = 0
        for found in self.entries():
            status = self.absolute(found.path).lstat()
            facts = (found.path, status.st_mode, status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
            total += int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:16])
        return total

    def sha256(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                self._flow.check()
                digest.update(chunk)
        return digest.hexdigest()

    def _below(self, folder: bytes, *, above_s: int, device: int) -> Iterator[Found]:
        """An explicit stack: a tree may be deeper than Python's."""
        waiting = [(folder, above_s)]
        while waiting:
            here, above = waiting.pop()
            self._flow.check()
            with os.scandir(self.absolute(here)) as listing:
                for item in listing:
                    status = item.stat(follow_symlinks=False)
                    facts = self._facts(status, Path(item.path))
                    if facts is None:
                        continue
                    path = (here + b"/" if here else b"") + os.fsencode(item.name)
                    yield Found(path, facts, above)
                    if facts.type is EntryType.DIRECTORY and status.st_dev == device:
                        waiting.append((path, max(above, facts.changed_s)))

    def _changed_above(self, folder: bytes) -> int | None:
        newest: int | None = None
        for path in (*((folder, *parents(folder)) if folder else ()), ROOT):
            try:
                facts = self._facts(self.absolute(path).lstat(), None)
            except FileNotFoundError:
                continue
            if facts is not None:
                newest = facts.changed_s if newest is None else max(newest, facts.changed_s)
        return newest

    def _facts(self, status: os.stat_result, absolute: Path | None) -> EntryFacts | None:
        kind = _TYPES.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return None
        mtime_s = int(status.st_mtime_ns // 1_000_000_000)
        is_original = status.st_ctime <= self._copied_from_s
        return EntryFacts(
            type=kind,
            size_bytes=status.st_size if kind is EntryType.FILE else 0,
            mtime_s=mtime_s,
            changed_s=max(mtime_s, int(status.st_ctime)) if is_original else mtime_s,
            link_target=_target(absolute) if kind is EntryType.SYMLINK and absolute is not None else None,
        )


def _target(link: Path) -> bytes:
    return os.fsencode(link.readlink())


class Selected:
    """Whether a path is one that an export with these patterns takes."""

    def __init__(self, selection: Selection) -> None:
        self._include = [pattern.regex for pattern in selection.include]
        self._exclude = [pattern.regex for pattern in selection.excluded]

    def holds(self, path: bytes) -> bool:
        chain = (path, *parents(path))
        if any(regex.fullmatch(one) for regex in self._exclude for one in chain):
            return False
        return not self._include or any(regex.fullmatch(one) for regex in self._include for one in chain)

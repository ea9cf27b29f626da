"""Writes the members of a tar stream into a local directory, and nothing anywhere else.

Every folder on the way is opened by itself, relative to the one above and never through a link, so that neither the
archive nor whoever else may write in the target can lead a file out of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import RefusalError, UnpackError, UnsafeArchiveError
from flykeep.domain.tar_stream import TarHeader
from flykeep.domain.unpacking import Parts, UnpackGuard

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SET_ID = stat.S_ISUID | stat.S_ISGID


class Unpacker:
    """A TarSink that restores files, folders, links and FIFOs with their mode and time, and their owner where it may.

    Use it as a context manager; `finish` completes the folders. After an error what was written stays: the caller
    removes the target. Without `restores_owner` everything belongs to this process's user, and no file keeps its
    set-user-id bit. Errors: UnsafeArchiveError, UnpackError; RefusalError for a target that is not an empty directory,
    a new filesystem's `lost+found` apart.
    """

    def __init__(self, target: Path, guard: UnpackGuard, *, restores_owner: bool) -> None:
        self._guard = guard
        self._restores_owner = restores_owner
        self._shown_target = str(target)
        self._folders: dict[Parts, IndexEntry] = {}
        self._open_at: Parts = ()
        self._open_folder: int | None = None
        self._file: int | None = None
        with _translated(str(target)):
            self._root = os.open(target, _FOLDER)
        try:
            if set(os.listdir(self._root)) - {"lost+found"}:  # noqa: PTH208 - of the directory that is open
                raise RefusalError("The directory to unpack into is not empty.", facts={"directory": str(target)})
        except BaseException:
            os.close(self._root)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in (self._file, self._open_folder, self._root):
            if descriptor is not None:
                os.close(descriptor)

    def begin(self, header: TarHeader) -> None:
        entry = header.entry
        parts = self._guard.admit(header)
        with _translated(self._shown_target, entry):
            self._make(entry, parts)

    def content(self, piece: memoryview) -> None:
        if self._file is None:
            return
        with _translated(self._shown_target):
            while piece:
                piece = piece[os.write(self._file, piece) :]

    def end(self, entry: IndexEntry) -> None:
        if self._file is None:
            return
        with _translated(self._shown_target, entry):
            self._settle(self._file, entry)
        os.close(self._file)
        self._file = None

    def moved(self, target: int, *, kept: frozenset[Parts]) -> None:
        """All of it stands in the directory `target` now; `kept` are folders that were there before.

        Those keep their mode and time.
        """
        os.close(self._root)
        self._root = os.dup(target)
        self._folders = {parts: entry for parts, entry in self._folders.items() if parts not in kept}

    def finish(self) -> None:
        """Give the folders their modes and times, the deepest first: until now they had to be writable."""
        for parts in sorted(self._folders, key=len, reverse=True):
            entry = self._folders[parts]
            with _translated(self._shown_target, entry):
                folder = self._opened(parts, makes=False)
                try:
                    self._settle(folder, entry)
                finally:
                    os.close(folder)

    def _make(self, entry: IndexEntry, parts: Parts) -> None:
        if entry.type is EntryType.DIRECTORY:
            os.close(self._opened(parts, makes=True))
            self._folders[parts] = entry
            return
        folder, name = self._folder(parts[:-1]), parts[-1]  # the guard lets the root be a directory only
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)  # the same path again: the last one stands, as with tar
        if entry.type is EntryType.FILE:
            self._file = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
        elif entry.type is EntryType.HARDLINK:
            self._link(entry, folder, name)
        else:
            self._special(entry, folder, name)

    def _link(self, entry: IndexEntry, folder: int, name: bytes) -> None:
        source = self._guard.link_source(entry)
        above = self._opened(source[:-1], makes=False)
        try:
            os.link(source[-1], name, src_dir_fd=above, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(above)

    def _special(self, entry: IndexEntry, folder: int, name: bytes) -> None:
        if entry.type is EntryType.SYMLINK:
            os.symlink(entry.link_target or b"", name, dir_fd=folder)
        else:
            os.mkfifo(name, 0o600, dir_fd=folder)
        if self._restores_owner:
            os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        if entry.type is EntryType.FIFO:
            os.chmod(name, self._mode(entry), dir_fd=folder)  # just made here, in a folder opened without links
        os.utime(name, (entry.mtime_s, entry.mtime_s), dir_fd=folder, follow_symlinks=False)

    def _settle(self, descriptor: int, entry: IndexEntry) -> None:
        """Owner before mode: changing the owner takes set-id bits away."""
        if self._restores_owner:
            os.fchown(descriptor, entry.uid, entry.gid)
        os.fchmod(descriptor, self._mode(entry))
        os.utime(descriptor, (entry.mtime_s, entry.mtime_s))

    def _mode(self, entry: IndexEntry) -> int:
        return entry.mode if self._restores_owner else entry.mode & ~_SET_ID

    def _folder(self, parts: Parts) -> int:
        """The folder of the entry being made; it stays open while entries of the same folder follow."""
        if self._open_folder is None or self._open_at != parts:
            opened = self._opened(parts, makes=True)
            if self._open_folder is not None:
                os.close(self._open_folder)
            self._open_folder, self._open_at = opened, parts
        return self._open_folder

    def _opened(self, parts: Parts, *, makes: bool) -> int:
        folder = os.dup(self._root)
        try:
            for part in parts:
                if makes:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=folder)
                below = os.open(part, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = below
        except BaseException:
            os.close(folder)
            raise
        return folder


@contextlib.contextmanager
def _translated(target: str, entry: IndexEntry | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        path = None if entry is None else entry.path.decode("utf-8", "backslashreplace")
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise UnsafeArchiveError(
                "A link stands where a directory was unpacked.", facts={"directory": target, "path": path}
            ) from error
        raise UnpackError(
            f"A file could not be written: {error.strerror}.", facts={"directory": target, "path": path}
        ) from error


def restores_owner() -> bool:
    """Whether this process may give files away."""
    return os.geteuid() == 0

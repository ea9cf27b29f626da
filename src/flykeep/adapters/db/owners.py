"""Owners' locks as files: `<directory>/<owner_id>.lock`, and `<directory>/daemon.lock`.

A living owner holds its file locked exclusively (flock), and the kernel lets go when the process dies, however it
dies. Who only looks takes the lock *shared*: lookers never disturb each other, so a lock that cannot be shared means a
living owner, always. The files of the dead are removed by lookers, one at a time (a second, independent kind of lock),
and only while the path still names the file that was found free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from flykeep.adapters.db.postgres_owners import PostgresOwners
from flykeep.adapters.db.urls import database_of
from flykeep.domain.errors import BusyError, InternalError, StateError
from flykeep.domain.ids import OwnerId
from flykeep.ports.ownership import Owners

_DAEMON: Final = "daemon"
_OWNER_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")

# Not inherited by children: a killed daemon's worker must not keep its lock alive.
_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


def open_owners(url: str, *, directory: Path) -> AbstractAsyncContextManager[Owners]:
    """The owners beside the catalog at `url`: files in `directory` for SQLite, advisory locks for PostgreSQL.

    `directory` is created where it is missing; PostgreSQL does not use it.
    """
    database = database_of(url)
    if database.is_sqlite:
        return contextlib.nullcontext(FileOwners(directory))
    return contextlib.nullcontext(PostgresOwners(database))


class FileOwners:
    """ports.ownership.Owners on the local disk; every process that shares the SQLite file shares the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @asynccontextmanager
    async def hold(self, owner_id: OwnerId, *, is_daemon: bool) -> AsyncIterator[None]:
        """Be `owner_id`. Raises BusyError where another process is, or for a second daemon."""
        with contextlib.ExitStack() as held:
            if is_daemon:
                held.enter_context(self._held(_DAEMON))
            held.enter_context(self._held(_checked(owner_id)))
            yield

    async def is_alive(self, owner_id: OwnerId) -> bool:
        """Removes the file of an owner found dead."""
        return self._is_held(_checked(owner_id), is_swept=True)

    async def is_daemon_alive(self) -> bool:
        return self._is_held(_DAEMON, is_swept=False)

    @contextmanager
    def _held(self, name: str) -> Iterator[None]:
        path = self._path(name)
        with _translated(path):
            descriptor = _lock(path)
        if descriptor is None:
            who = "another flykeep daemon" if name == _DAEMON else f"owner {name}"
            raise BusyError(f"{who} is alive", hint="Only one may run on this state; stop the other one first.")
        try:
            yield
        finally:
            with _translated(path):
                try:
                    if name != _DAEMON:
                        path.unlink(missing_ok=True)
                finally:
                    os.close(descriptor)

    def _is_held(self, name: str, *, is_swept: bool) -> bool:
        path = self._path(name)
        with _translated(path):
            try:
                descriptor = os.open(path, _FLAGS)
            except FileNotFoundError:
                return False
            try:
                if not _try_lock(descriptor, fcntl.LOCK_SH):
                    return True
                if is_swept:
                    _sweep(descriptor, path)
                return False
            finally:
                os.close(descriptor)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.lock"


def _checked(owner_id: OwnerId) -> str:
    if not _OWNER_ID.fullmatch(owner_id) or owner_id == _DAEMON:
        raise InternalError("not an owner's id", facts={"owner": owner_id})
    return owner_id


def _lock(path: Path) -> int | None:
    """An open descriptor that holds `path` exclusively, or None where somebody alive does."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, _FLAGS | os.O_CREAT, 0o600)
        if _try_lock(descriptor, fcntl.LOCK_EX):
            if _is_at(descriptor, path):
                return descriptor
            is_held = False  # removed by a looker before it was locked: start again with a new file
        else:
            is_held = not _try_lock(descriptor, fcntl.LOCK_SH)
        os.close(descriptor)
        if is_held:
            return None
        os.sched_yield()  # a looker shares it for an instant


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(descriptor: int, path: Path) -> None:
    """Remove a file whose lock is shared by us, so that no owner can take it meanwhile.

    The record lock keeps two lookers from both finding their file at the path and the slower one removing the file of
    an owner that came between.
    """
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return
    if _is_at(descriptor, path):
        path.unlink(missing_ok=True)


def _is_at(descriptor: int, path: Path) -> bool:
    mine = os.fstat(descriptor)
    try:
        there = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateError(
            f"cannot use the owner's lock {path}: {error.strerror}",
            hint="Let the user who runs flykeep write to this folder, on a local disk that is not full.",
        ) from error

"""A tree in use on a machine, as one listing of it says; kept in a private file that goes with the process."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from flykeep.domain.artifact import EntryType
from flykeep.domain.errors import SshError
from flykeep.domain.inspection import DiskUse
from flykeep.worker.live_scripts import (
    NO_DIRECTORY,
    Listed,
    links_script,
    read_listed,
    read_use,
    tree_script,
    use_script,
)
from flykeep.worker.machine import Machine
from flykeep.worker.selection import Pattern, Selection
from flykeep.worker.source import Splitter
from flykeep.worker.tree import Selected

ROOT = b"."
_TROUBLES = 5
_GONE = b"No such file or directory"


class LiveTree:
    """What `LiveTree.read` saw; the tree itself may have moved on."""

    def __init__(self, rows: sqlite3.Connection, use: DiskUse | None, troubles: tuple[str, ...]) -> None:
        self.rows = rows
        self.use = use
        self.troubles = troubles

    @classmethod
    @contextmanager
    def read(cls, machine: Machine, directory: str, *, token: str) -> Iterator[LiveTree]:
        """Raises SshError where there is no such directory, or the machine's tools cannot list it."""
        with closing(sqlite3.connect("", check_same_thread=False)) as rows:
            rows.execute("CREATE TABLE live (path BLOB PRIMARY KEY, type, size, mtime, link BLOB) WITHOUT ROWID")
            use = read_use(machine.collect(use_script(directory)))
            mark = b"\x01flykeep:" + token.encode()
            troubles = _run(machine, tree_script(directory, mark), mark + b"\n", lambda each: _list(rows, each))
            if rows.execute("SELECT 1 FROM live WHERE path = ?", (ROOT,)).fetchone() is None:
                raise SshError(f"the machine cannot list {directory}: {'; '.join(troubles) or 'no reason given'}")
            troubles += _run(machine, links_script(directory), b"\0", _Links(rows))
            yield cls(rows, use, troubles[:_TROUBLES])

    def entries(self) -> Iterator[Listed]:
        """In the order of their paths."""
        for path, kind, size, mtime in self.rows.execute("SELECT path, type, size, mtime FROM live ORDER BY path"):
            yield Listed(path, EntryType(kind), size, mtime)

    def find(self, path: bytes) -> Listed | None:
        """One entry."""
        row = self.rows.execute("SELECT type, size, mtime FROM live WHERE path = ?", (path,)).fetchone()
        return Listed(path, EntryType(row[0]), row[1], row[2]) if row else None

    def matches(self, pattern: str) -> list[Listed]:
        """The entries that the glob names, without what lies below them."""
        regex = Pattern.of(pattern).tree.regex
        return [found for found in self.entries() if regex.fullmatch(found.path)]

    def files_of(self, pattern: str) -> Iterator[Listed]:
        """The regular files that the glob names, and those below the directories it names."""
        selected = Selected(Selection.of((pattern,), ()))
        return (found for found in self.entries() if found.type is EntryType.FILE and selected.holds(found.path))

    def totals(self) -> tuple[int, int, int]:
        """Files, directories without the root, and bytes of files."""
        counted = "SELECT coalesce(sum(type = 'file'), 0), coalesce(sum(type = 'dir'), 0) - 1, coalesce(sum(size), 0)"
        files, directories, content_bytes = self.rows.execute(f"{counted} FROM live").fetchone()
        return files, directories, content_bytes


def _run(machine: Machine, script: bytes, separator: bytes, take: Callable[[list[bytes]], None]) -> tuple[str, ...]:
    """What went wrong with single files; those that vanished meanwhile are none of it."""
    splitter = Splitter(separator)
    ended = machine.run(script, lambda chunk: take(splitter.feed(chunk)))
    lines = [line.decode("utf-8", "backslashreplace") for line in ended.stderr if not line.endswith(_GONE)]
    if ended.code:
        what = "the machine has no such directory" if ended.code == NO_DIRECTORY else "the machine could not look"
        raise SshError(f"{what}: {'; '.join(lines[-3:]) or 'no reason given'}", facts={"exit_code": ended.code})
    return tuple(lines[:_TROUBLES])


def _list(rows: sqlite3.Connection, records: list[bytes]) -> None:
    found = (listed for listed in map(read_listed, records) if listed is not None)
    rows.executemany(
        "INSERT OR REPLACE INTO live (path, type, size, mtime) VALUES (?, ?, ?, ?)",
        ((each.path, each.type.value, each.size_bytes, each.mtime_s) for each in found),
    )


class _Links:
    """Takes paths and targets by turns."""

    def __init__(self, rows: sqlite3.Connection) -> None:
        self._rows = rows
        self._path: bytes | None = None

    def __call__(self, records: list[bytes]) -> None:
        for record in records:
            if self._path is None:
                self._path = record.removeprefix(b"./")
                continue
            self._rows.execute("UPDATE live SET link = ? WHERE path = ?", (record, self._path))
            self._path = None

"""A restored tree beside an artifact's index, path by path, in memory that does not grow with either."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import lru_cache

from flykeep.domain.agreement import (
    Comparison,
    EntryFacts,
    Gap,
    Judged,
    Standing,
    Tally,
    judge_both,
    judge_missing,
    judge_unindexed,
)
from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.worker.remote_tar import shown
from flykeep.worker.selection import Selection, parents
from flykeep.worker.tree import ROOT, Found, Selected, Tree

_COLUMNS = "type, size, mtime, link, sha256"


class IndexComparison:
    """Compares everything a selection of the volume holds; what changed while it was archived is left out."""

    def __init__(self, tree: Tree, gap: Gap, *, selection: Selection, unsteady: Iterable[str]) -> None:
        self._tree = tree
        self._gap = gap
        self._selected = Selected(selection)
        self._unsteady = frozenset(unsteady)
        self._tally = Tally()
        self._above_indexed = lru_cache(maxsize=4096)(self._changed_above)

    def run(self, entries: Iterator[IndexEntry]) -> Comparison:
        """Raises whatever `entries` raise; an index that is cut short proves nothing."""
        with closing(sqlite3.connect("")) as self._rows:  # a private file, gone with the process
            self._rows.execute(
                f"CREATE TABLE entries (path BLOB PRIMARY KEY, {_COLUMNS}, seen INTEGER DEFAULT 0) WITHOUT ROWID"
            )
            self._rows.executemany(
                f"INSERT OR REPLACE INTO entries (path, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own names
                map(_row, entries),
            )
            for found in self._tree.entries():
                self._compare(found)
            for path, *row in self._rows.execute(f"SELECT path, {_COLUMNS} FROM entries WHERE NOT seen"):  # noqa: S608
                self._add(path, judge_missing(self._gap, indexed=_facts(row), above_s=self._above(path, None)))
        return self._tally.comparison()

    def _compare(self, found: Found) -> None:
        query = f"SELECT {_COLUMNS} FROM entries WHERE path = ?"  # noqa: S608
        row = self._rows.execute(query, (found.path,)).fetchone()
        above_s = self._above(found.path, found)
        if row is None:
            if self._selected.holds(found.path):
                self._add(found.path, judge_unindexed(self._gap, found=found.facts, above_s=above_s))
            return
        self._rows.execute("UPDATE entries SET seen = 1 WHERE path = ?", (found.path,))
        judged = judge_both(self._gap, indexed=_facts(row), found=found.facts, above_s=above_s)
        if judged.standing is Standing.READ:
            judged = self._read(found.path, str(row[-1]))
        self._add(found.path, judged)

    def _read(self, path: bytes, wanted_sha256: str) -> Judged:
        try:
            sha256 = self._tree.sha256(self._tree.absolute(path))
        except OSError as error:
            return Judged(Standing.CONTRADICTION, f"cannot be read: {error.strerror}")
        if sha256 == wanted_sha256:
            return Judged(Standing.EQUAL)
        return Judged(Standing.CONTRADICTION, "has other content, and nothing says that it was written since")

    def _add(self, path: bytes, judged: Judged) -> None:
        name = shown(path)
        self._tally.add(name, Judged(Standing.CHANGED) if name in self._unsteady else judged)

    def _above(self, path: bytes, found: Found | None) -> int | None:
        """When a directory above the path changed last in the later of the two backups."""
        if path == ROOT:
            return None
        if not self._gap.is_tree_later:
            return self._above_indexed(path.rpartition(b"/")[0])
        return found.above_s if found is not None else self._tree.above(path)

    def _changed_above(self, folder: bytes) -> int | None:
        """None where the index does not name every directory above: then nobody can say."""
        newest = 0
        for path in (*((folder, *parents(folder)) if folder else ()), ROOT):
            row = self._rows.execute("SELECT mtime FROM entries WHERE path = ?", (path,)).fetchone()
            if row is None:
                return None
            newest = max(newest, row[0])
        return newest


def _row(entry: IndexEntry) -> tuple[bytes, str, int, int, bytes | None, str | None]:
    return (entry.path, entry.type.value, entry.size_bytes, entry.mtime_s, entry.link_target, entry.sha256)


def _facts(row: list[object] | tuple[object, ...]) -> EntryFacts:
    kind, size_bytes, mtime_s, link_target, _ = row
    assert isinstance(size_bytes, int)
    assert isinstance(mtime_s, int)
    return EntryFacts(
        type=EntryType(str(kind)),
        size_bytes=size_bytes,
        mtime_s=mtime_s,
        changed_s=mtime_s,
        link_target=link_target if isinstance(link_target, bytes) else None,
    )

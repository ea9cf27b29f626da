"""A tree in use beside an artifact's index, path by path, in memory that does not grow with either."""

from __future__ import annotations

from collections.abc import Iterator

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.inspection import Change, Difference, DiffTally, SideFacts, TreeDiff, judge_pair
from flykeep.worker.live_scripts import digests_script, read_digest
from flykeep.worker.live_tree import ROOT, LiveTree
from flykeep.worker.machine import Machine
from flykeep.worker.remote_tar import shown
from flykeep.worker.selection import Selection
from flykeep.worker.source import Splitter
from flykeep.worker.tree import Selected

_BATCH = 500
_COLUMNS = "type, size, mtime, link, sha256"


class LiveDiff:
    """What a restore of the artifact would do with the tree."""

    def __init__(
        self, tree: LiveTree, *, selection: Selection, is_digesting: bool, digest_bytes: int, names: int
    ) -> None:
        self._tree = tree
        self._selected = Selected(selection)
        self._is_digesting = is_digesting
        self._digest_bytes = digest_bytes
        self._tally = DiffTally(names)

    def run(self, entries: Iterator[IndexEntry], machine: Machine, directory: str) -> TreeDiff:
        """Raises whatever `entries` raise; an index that is cut short proves nothing."""
        rows = self._tree.rows
        rows.execute(f"CREATE TABLE indexed (path BLOB PRIMARY KEY, {_COLUMNS}) WITHOUT ROWID")
        rows.execute("CREATE TABLE undecided (path BLOB PRIMARY KEY, size, sha256, is_dated) WITHOUT ROWID")
        insert = f"INSERT OR REPLACE INTO indexed (path, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - our names
        rows.executemany(insert, map(_row, entries))
        rows.execute(
            "UPDATE indexed SET (type, size, mtime, sha256) = (SELECT t.type, t.size, t.mtime, t.sha256 FROM indexed t"
            " WHERE t.path = indexed.link) WHERE type = 'hardlink' AND link IN (SELECT path FROM indexed)"
        )
        self._compare_live()
        self._name_missing()
        self._compare_contents(machine, directory)
        return self._tally.diff()

    def _compare_live(self) -> None:
        query = (
            "SELECT l.path, l.type, l.size, l.mtime, l.link, i.type, i.size, i.mtime, i.link, i.sha256"
            " FROM live l LEFT JOIN indexed i ON i.path = l.path WHERE l.path != ? ORDER BY l.path"
        )
        for path, *row in self._tree.rows.execute(query, (ROOT,)):
            live, indexed, sha256 = _side(row[:4]), _side(row[4:8]), row[8]
            if live is None:  # never: every listed entry has a type
                continue
            if indexed is None:
                self._only_live(path, live)
                continue
            verdict = judge_pair(indexed=indexed, live=live, is_digesting=self._is_digesting and sha256 is not None)
            if verdict.change is None:
                is_dated = indexed.mtime_s != live.mtime_s
                insert = "INSERT INTO undecided VALUES (?, ?, ?, ?)"
                self._tree.rows.execute(insert, (path, live.size_bytes, sha256, is_dated))
            else:
                self._add(path, verdict.change, verdict.why, live, indexed)

    def _only_live(self, path: bytes, live: SideFacts) -> None:
        is_inside = self._selected.holds(path)
        change = Change.LOST if is_inside else Change.OUTSIDE
        self._add(
            path, change, "is not in the artifact" if is_inside else "is not among the artifact's paths", live, None
        )

    def _name_missing(self) -> None:
        query = (
            "SELECT path, type, size, mtime, link FROM indexed"
            " WHERE path != ? AND path NOT IN (SELECT path FROM live) ORDER BY path"
        )
        for path, *row in self._tree.rows.execute(query, (ROOT,)):
            self._add(path, Change.BROUGHT_BACK, "is not on the volume", None, _side(row))

    def _compare_contents(self, machine: Machine, directory: str) -> None:
        """The smallest first, so that what is left out for its size is as few as can be."""
        budget = None if self._is_digesting else self._digest_bytes
        batch: list[tuple[bytes, int, str]] = []
        for path, size, sha256, is_dated in self._tree.rows.execute("SELECT * FROM undecided ORDER BY size, path"):
            if sha256 is None or (budget is not None and size > budget):
                self._tally.undigested()
                self._add_file(path, Change.OVERWRITTEN if is_dated else Change.EQUAL, "has another date", size)
                continue
            budget = None if budget is None else budget - size
            batch.append((path, size, sha256))
            if len(batch) == _BATCH:
                self._digest(machine, directory, batch)
                batch = []
        if batch:
            self._digest(machine, directory, batch)

    def _digest(self, machine: Machine, directory: str, batch: list[tuple[bytes, int, str]]) -> None:
        splitter, found = Splitter(b"\0"), dict[bytes, str]()
        machine.run(
            digests_script(directory, [path for path, _, _ in batch]),
            lambda chunk: found.update(map(read_digest, splitter.feed(chunk))),
        )
        for path, size, sha256 in batch:
            self._tally.digested()
            if found.get(path) == sha256:
                self._add_file(path, Change.EQUAL, "", size)
            else:
                why = "has other contents" if path in found else "could not be read"
                self._add_file(path, Change.OVERWRITTEN, why, size)

    def _add_file(self, path: bytes, change: Change, why: str, size: int) -> None:
        same = SideFacts(EntryType.FILE, size, 0)
        self._add(path, change, why, same, same)

    def _add(self, path: bytes, change: Change, why: str, live: SideFacts | None, indexed: SideFacts | None) -> None:
        self._tally.add(Difference(shown(path), change, why, _size(live), _size(indexed)))


def _size(side: SideFacts | None) -> int | None:
    return side.size_bytes if side is not None and side.type is EntryType.FILE else None


def _row(entry: IndexEntry) -> tuple[bytes, str, int, int, bytes | None, str | None]:
    return (entry.path, entry.type.value, entry.size_bytes, entry.mtime_s, entry.link_target, entry.sha256)


def _side(row: list[object]) -> SideFacts | None:
    kind, size_bytes, mtime_s, link_target = row
    if kind is None:
        return None
    assert isinstance(size_bytes, int)
    assert isinstance(mtime_s, int)
    return SideFacts(EntryType(str(kind)), size_bytes, mtime_s, link_target if isinstance(link_target, bytes) else None)

"""Which entries of an archive an import takes, and what they need on the volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import NotFoundError, RefusalError
from flykeep.worker.index_spool import EntryList
from flykeep.worker.placing import OLD_PREFIX, STAGED_PREFIX
from flykeep.worker.receiving import require_room, room_for
from flykeep.worker.remote_tar import shown
from flykeep.worker.selection import Pattern, parents

_OWN = (STAGED_PREFIX, OLD_PREFIX)


class Wanted:
    """What a person asked for: the trees that patterns match, or all but flykeep's own folders."""

    def __init__(self, paths: Sequence[str]) -> None:
        """Raises ConfigError for a pattern that cannot be one."""
        self._patterns = [(pattern.text, pattern.regex) for pattern in (Pattern.of(text).tree for text in paths)]
        self.unmatched = {text for text, _ in self._patterns}

    @property
    def is_whole(self) -> bool:
        return not self._patterns

    def holds(self, path: bytes) -> bool:
        """Whether an entry is asked for, by itself or with a folder above it."""
        if path.startswith(_OWN):
            return False
        if not self._patterns:
            return True
        return any(self._matches(one) for one in (path, *parents(path)))

    def _matches(self, path: bytes) -> bool:
        matching = [text for text, regex in self._patterns if regex.fullmatch(path)]
        self.unmatched.difference_update(matching)
        return bool(matching)


@dataclass(frozen=True, slots=True)
class Survey:
    """What judging an archive gave. `passed` are folders above wanted entries, not wanted themselves."""

    wanted: Wanted
    passed: frozenset[bytes]
    entries: int
    files: int
    content_bytes: int
    left_out: int

    def is_wanted(self, path: bytes) -> bool:
        return self.wanted.holds(path)

    def is_sent(self, entry: IndexEntry) -> bool:
        """Folders above wanted entries go along, so that missing ones are made as the archive has them."""
        return self.wanted.holds(entry.path) or (entry.type is EntryType.DIRECTORY and entry.path in self.passed)


def survey(
    entries: Iterable[IndexEntry], paths: Sequence[str], spool: EntryList, *, free_bytes: int, directory: str
) -> Survey:
    """Go through every judged entry and keep it in `spool`.

    Raises RefusalError as soon as the volume has no room for what is wanted, and for a hard link without its file;
    NotFoundError for a pattern that matches nothing.
    """
    wanted, passed = Wanted(paths), set[bytes]()
    count = taken = files = content_bytes = needed_bytes = 0
    for entry in entries:
        spool.add(entry)
        count += 1
        if not wanted.holds(entry.path):
            continue
        taken += 1
        files += entry.type is EntryType.FILE
        content_bytes += entry.size_bytes
        needed_bytes += room_for(entry)
        require_room(needed_bytes, free_bytes, directory=directory)
        _require_linked(entry, wanted)
        if not wanted.is_whole:
            passed.update(parents(entry.path))
    spool.seal()
    if wanted.unmatched:
        names = ", ".join(sorted(wanted.unmatched))
        raise NotFoundError(f"nothing in the archive matches {names}", hint="Paths count from the archive's root.")
    return Survey(wanted, frozenset(passed), taken, files, content_bytes, count - taken)


def _require_linked(entry: IndexEntry, wanted: Wanted) -> None:
    if entry.type is EntryType.HARDLINK and not wanted.holds(entry.link_target or b""):
        target = shown(entry.link_target or b"")
        raise RefusalError(
            f"{shown(entry.path)} is a hard link to {target}, which is not asked for",
            hint=f"Ask for both: add --path {target}.",
        )

"""Which entries of an index a person asked for, and what else has to be made for them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import NotFoundError
from flykeep.worker.selection import Pattern, parents


@dataclass(slots=True)
class Choice:
    """What to restore. `folders` are those above chosen entries: made with their own mode, owner and time.

    `stand_ins` names, for a file that was not chosen, the chosen hard link that gets its content.
    """

    regexes: tuple[re.Pattern[bytes], ...]
    folders: set[bytes] = field(default_factory=set)
    stand_ins: dict[bytes, bytes] = field(default_factory=dict)
    entries: int = 0
    content_bytes: int = 0

    @classmethod
    def of(cls, paths: Iterable[str], index: Iterable[IndexEntry]) -> Choice:
        """Go through the whole index. No paths choose everything.

        Raises ConfigError for a path that leaves the volume, NotFoundError for one that matches nothing.
        """
        patterns = [Pattern.of(path).tree for path in paths]
        choice = cls(tuple(pattern.regex for pattern in patterns))
        unmatched = {pattern.text: regex for pattern, regex in zip(patterns, choice.regexes, strict=True)}
        for entry in index:
            for text in [text for text, regex in unmatched.items() if regex.fullmatch(entry.path)]:
                del unmatched[text]
            if choice.has(entry.path):
                choice._note(entry)
        if unmatched:
            raise NotFoundError(
                f"the artifact holds nothing that matches {', '.join(unmatched)}",
                hint="Search it with `flykeep artifact files ID --grep TEXT`.",
            )
        return choice

    def has(self, path: bytes) -> bool:
        """Whether the path was asked for, itself or a folder above it."""
        return not self.regexes or any(
            regex.fullmatch(each) for each in (path, *parents(path)) for regex in self.regexes
        )

    def placed(self, entry: IndexEntry) -> IndexEntry | None:
        """The entry as it is restored, None where it is not."""
        if entry.path in self.stand_ins:
            return replace(entry, path=self.stand_ins[entry.path])
        if not self.has(entry.path):
            return entry if entry.type is EntryType.DIRECTORY and entry.path in self.folders else None
        stand_in = self.stand_ins.get(entry.link_target or b"") if entry.type is EntryType.HARDLINK else None
        if stand_in is None:
            return entry
        return None if stand_in == entry.path else replace(entry, link_target=stand_in)

    def _note(self, entry: IndexEntry) -> None:
        self.folders.update(parents(entry.path))
        self.entries += 1
        self.content_bytes += entry.size_bytes
        target = entry.link_target or b""
        if entry.type is EntryType.HARDLINK and not self.has(target):
            self.stand_ins.setdefault(target, entry.path)

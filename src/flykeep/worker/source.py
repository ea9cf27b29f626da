"""The tree on the machine: what tar is there, what to take, and what changed meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from flykeep.domain.artifact import ChangedFile, EntryType, IndexEntry
from flykeep.domain.errors import SshError
from flykeep.ports.worker import ExportOrder
from flykeep.worker.machine import Machine
from flykeep.worker.remote_tar import (
    Flavour,
    Probe,
    Root,
    listing_script,
    probe_script,
    raw,
    read_probe,
    second_look_script,
    shown,
    tar_script,
)
from flykeep.worker.selection import Selection

_LISTING_TROUBLE = 98


@dataclass(frozen=True, slots=True)
class TarCommand:
    """What will be read. `operands` None means the whole directory."""

    probe: Probe
    script: bytes
    operands: tuple[bytes, ...] | None


class Source:
    """One machine's tree: behind SSH, or mounted where this process runs."""

    def __init__(self, order: ExportOrder, machine: Machine) -> None:
        self._order = order
        self._machine = machine

    def plan(self) -> TarCommand:
        """Look at the machine and decide. Raises SshError, and ConfigError for patterns that match nothing."""
        directory = self._order.directory
        probe = read_probe(self._machine.collect(probe_script(directory)), directory=directory)
        selection = Selection.of(self._order.include, self._order.exclude)
        operands = None if selection.is_whole else self._resolve(selection)
        excludes = selection.gnu_excludes() if probe.can_exclude else None
        if excludes is None and self._order.exclude:
            roots = [Root(path, is_tree=True) for path in operands or (b"",)]
            operands = selection.cover(operands or (), self._listing(roots))
        return TarCommand(
            probe=probe,
            script=tar_script(directory, flavour=probe.flavour, excludes=excludes or (), operands=operands),
            operands=operands,
        )

    def second_look(self, command: TarCommand, entries: Iterable[IndexEntry]) -> tuple[ChangedFile, ...]:
        """The archived files whose size or mtime is another now, or that are gone; for a tar that does not tell."""
        mark = b"\x01" + raw(self._order.export_id)
        script = second_look_script(self._order.directory, operands=command.operands, mark=mark)
        with closing(sqlite3.connect("", check_same_thread=False)) as seen:  # a private file, gone with the process
            seen.execute("CREATE TABLE seen (path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER) WITHOUT ROWID")
            splitter = Splitter(mark + b"\n")
            self._machine.run(
                script,
                lambda chunk: seen.executemany(
                    "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", map(_facts, splitter.feed(chunk))
                ),
            )
            return tuple(_differing(seen, entries))

    def _resolve(self, selection: Selection) -> tuple[bytes, ...]:
        roots = {Root(raw(pattern.fixed_root), is_tree=not pattern.is_literal) for pattern in selection.include}
        return selection.resolve(self._listing(sorted(roots, key=lambda root: (root.path, root.is_tree))))

    def _listing(self, roots: list[Root]) -> Iterator[bytes]:
        splitter = Splitter(b"\0")
        found: list[bytes] = []
        ended = self._machine.run(
            listing_script(self._order.directory, roots), lambda chunk: found.extend(splitter.feed(chunk))
        )
        trouble = [line for line in ended.stderr if not line.endswith(b"No such file or directory")]
        if ended.code not in {0, _LISTING_TROUBLE} or trouble:
            words = b"; ".join(trouble[:3]).decode("utf-8", "backslashreplace")
            raise SshError(f"the machine could not list its files: {words}", facts={"exit_code": ended.code})
        return (path.removeprefix(b"./") for path in found if path != b".")


class Splitter:
    """Cuts a stream of pieces at a separator; what follows the last one is dropped."""

    def __init__(self, separator: bytes) -> None:
        self._separator = separator
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        *whole, self._rest = (self._rest + chunk).split(self._separator)
        return whole


def _facts(record: bytes) -> tuple[bytes, int, int]:
    size, mtime, path = record.split(b" ", 2)
    return path.removeprefix(b"./"), int(size), int(mtime)


def _differing(seen: sqlite3.Connection, entries: Iterable[IndexEntry]) -> Iterator[ChangedFile]:
    for entry in entries:
        if entry.type is not EntryType.FILE:
            continue
        found = seen.execute("SELECT size, mtime FROM seen WHERE path = ?", (entry.path,)).fetchone()
        if found is None:
            yield ChangedFile(shown(entry.path), "vanished")
        elif found != (entry.size_bytes, entry.mtime_s):
            yield ChangedFile(shown(entry.path), "changed")


def needs_second_look(flavour: Flavour) -> bool:
    """GNU tar says itself which files changed; busybox only notices those that shrink."""
    return flavour is Flavour.BUSYBOX

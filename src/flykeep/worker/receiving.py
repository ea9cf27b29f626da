"""Takes a tar into the staging folder on a machine, and compares there what arrived; GNU tools and busybox."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from flykeep.adapters.shells.fed import READY
from flykeep.domain.artifact import EntryType, IndexEntry
from flykeep.domain.errors import IntegrityError, RefusalError, SshError
from flykeep.worker.placing import staging_folder
from flykeep.worker.remote_tar import PROLOGUE, Flavour, quoted, raw, shown

HELD = b"held"
"""The list of folders the archive holds, beside the staged tree."""
TREE = b"new/"
"""The staged tree, below the staging folder."""

_ODD = b"flykeep:odd"
_FOLDERS = b"flykeep:folders"
_OTHERS = b"flykeep:others"
_END = b"flykeep:end"
_DF_FREE = re.compile(rb"\s\d+\s+\d+\s+(-?\d+)\s+\d+%")
_BLOCK_BYTES = 4096
_HEX_BYTES = 64
_TRANSACTION = 5000


def read_free_bytes(probe_output: bytes) -> int:
    """What `df` says may still be written; raises SshError where it says nothing."""
    found = _DF_FREE.search(probe_output)
    if found is None:
        raise SshError("the machine does not say how much room its volume has", hint="Its image needs `df`.")
    return max(int(found.group(1)), 0) * 1024


def room_for(entry: IndexEntry) -> int:
    """What an entry takes of a volume, at most: whole blocks and a block for its name."""
    return -(-entry.size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES + _BLOCK_BYTES


def require_room(needed_bytes: int, free_bytes: int, *, directory: str) -> None:
    """Raises RefusalError with both numbers."""
    if needed_bytes > free_bytes:
        raise RefusalError(
            f"the volume has {free_bytes} bytes free, and the import needs {needed_bytes} beside what is there",
            hint="Extend the volume, or import fewer files with --path.",
            facts={"directory": directory},
        )


def receive_script(directory: str, run_id: str, flavour: Flavour) -> bytes:
    """Says that it is ready, then becomes a tar that takes its input below the staging folder."""
    folder = staging_folder(run_id)
    options = b" --numeric-owner --delay-directory-restore" if flavour is Flavour.GNU else b""
    return b"".join(
        (
            PROLOGUE,
            b"cd -P " + quoted(raw(directory)) + b" || exit 97\n",
            b"umask 077\nmkdir " + folder + b" " + folder + b"/new || exit 1\numask 022\n",
            b"echo " + READY,
            b"exec tar -x -p -f - -C " + folder + options + b"\n",
        )
    )


def digest_script(directory: str, run_id: str) -> bytes:
    """Prints the sha256 of every regular file that was staged, and the paths of all else.

    `sha256sum` escapes names with a backslash or a newline in one make and not in the other: those are hashed by
    standard input, one by one. `openssl` prints the same and is five times as fast where the processor helps it.
    """
    tree = quoted(raw(directory) + b"/" + staging_folder(run_id) + b"/new")
    odd = b"-path '*\\\\*' -o -path '*\n*'"
    one_by_one = b'for f; do h=$(sha256sum < "$f") && printf \'%s %s\\0\' "${h%% *}" "$f" || exit 1; done'
    return b"".join(
        (
            PROLOGUE,
            b"cd -P " + tree + b" || exit 97\n",
            b"set -- openssl dgst -sha256 -r\n",
            b'case $("$@" /dev/null 2>/dev/null) in e3b0c442*"/dev/null") ;; *) set -- sha256sum ;; esac\n',
            b"find . -type f ! \\( " + odd + b' \\) -exec "$@" {} + || exit 1\n',
            b"echo " + _ODD + b"\n",
            b"find . -type f \\( " + odd + b" \\) -exec sh -c " + quoted(one_by_one) + b" sh {} + || exit 1\n",
            b"printf '" + _FOLDERS + b"\\0'; find . -type d -print0 || exit 1\n",
            b"printf '" + _OTHERS + b"\\0'; find . ! -type d ! -type f -print0 || exit 1\n",
            b"printf '" + _END + b"\\0'\n",
        )
    )


class Expectations:
    """What was sent, by path, in a private file that goes with the process; and what of it was found there."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._waiting: list[tuple[bytes, str]] = []
        database.execute("CREATE TABLE sent (path BLOB PRIMARY KEY, what TEXT, seen INTEGER DEFAULT 0) WITHOUT ROWID")

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Expectations]:
        with closing(sqlite3.connect("", check_same_thread=False)) as database:
            yield cls(database)

    def sent(self, entry: IndexEntry) -> None:
        """An entry that was sent whole; the same path again replaces it."""
        what = entry.sha256 or entry.type.value
        if entry.type is EntryType.HARDLINK:
            what = self._what(entry.link_target or b"") or what
        self._waiting.append((entry.path, what))
        if len(self._waiting) >= _TRANSACTION:
            self._spill()

    def found_file(self, path: bytes, digest: str) -> None:
        """A regular file is there. Raises IntegrityError where its bytes are others than were sent."""
        wanted = self._what(path)
        if wanted != digest:
            raise IntegrityError(
                "a file is not on the machine as it was sent" if wanted else "a file is there that was not sent",
                hint="Nothing was replaced. Try again; if it happens twice, the volume or the tar there is broken.",
                facts={"path": shown(path), "sha256": digest, "expected": wanted},
            )
        self._see(path)

    def found_folder(self, path: bytes) -> None:
        """Folders above others need not have been sent themselves."""
        self._see(path)

    def found_other(self, path: bytes) -> None:
        """A link or the like is there."""
        if self._what(path) is None:
            raise IntegrityError("something is there that was not sent", facts={"path": shown(path)})
        self._see(path)

    def require_all(self) -> None:
        """Raises IntegrityError where something that was sent did not arrive."""
        missing = self._database.execute("SELECT path FROM sent WHERE NOT seen LIMIT 1").fetchone()
        if missing is not None:
            raise IntegrityError("an entry that was sent is not on the machine", facts={"path": shown(missing[0])})

    def _what(self, path: bytes) -> str | None:
        self._spill()
        row = self._database.execute("SELECT what FROM sent WHERE path = ?", (path,)).fetchone()
        return None if row is None else str(row[0])

    def _see(self, path: bytes) -> None:
        self._database.execute("UPDATE sent SET seen = 1 WHERE path = ?", (path,))

    def _spill(self) -> None:
        if self._waiting:
            self._database.executemany("INSERT OR REPLACE INTO sent (path, what) VALUES (?, ?)", self._waiting)
            self._waiting.clear()


class DigestReader:
    """Reads what `digest_script` prints, in any pieces, into the expectations."""

    def __init__(self, expectations: Expectations) -> None:
        self._expectations = expectations
        self._separator = b"\n"
        self._part = b""
        self._rest = b""
        self.files = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next piece. Raises IntegrityError at the first difference."""
        data, at = self._rest + chunk, 0
        while (end := data.find(self._separator, at)) >= 0:
            record, at = data[at:end], end + 1
            self._take(record)
        self._rest = data[at:]

    def finish(self) -> None:
        """The output is over: all of it must have come, and all that was sent must have been in it."""
        if self._part != _END:
            raise SshError("the machine did not say all that was staged")
        self._expectations.require_all()

    def _take(self, record: bytes) -> None:
        if record in {_ODD, _FOLDERS, _OTHERS, _END}:
            self._part, self._separator = record, b"\0"
        elif self._part == _FOLDERS:
            self._expectations.found_folder(_from_root(record))
        elif self._part == _OTHERS:
            self._expectations.found_other(_from_root(record))
        else:
            self.files += 1
            digest, path = record[:_HEX_BYTES].decode("ascii", "replace"), record[_HEX_BYTES:].lstrip(b" *")
            self._expectations.found_file(_from_root(path), digest)


def _from_root(path: bytes) -> bytes:
    return path.removeprefix(b"./") or b"."

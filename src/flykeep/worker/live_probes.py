"""Asks a volume in use what its owner wants to know of it, and changes nothing.

Small files are read over the connection. A database is copied here and checked as a copy, for opening it where it lies
could make files beside it. Commands may do anything, so they are not run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from flykeep.domain.artifact import EntryType
from flykeep.domain.inspection import LiveProbe, ProbeState
from flykeep.domain.probes import (
    CommandProbe,
    CountProbe,
    ExistsProbe,
    JsonProbe,
    Probe,
    ProbeOutcome,
    Sha256Probe,
    SqliteProbe,
    digest_flaw,
    judge_count,
    judge_exists,
    judge_files,
    judge_newest,
    label,
)
from flykeep.worker.channel import Flow
from flykeep.worker.live_scripts import Listed, content_script, digest_script, stamp_script
from flykeep.worker.live_tree import LiveTree
from flykeep.worker.machine import Machine
from flykeep.worker.probes import JSON_LIMIT_BYTES, database_flaw, json_flaw
from flykeep.worker.remote_tar import shown

_DATABASE_LIMIT_BYTES = 256 << 20
_TRIES = 3
_SIDE_FILES = (b"-wal", b"-journal")


class NotAskedError(Exception):
    """Why a question cannot be put to this volume now."""


class LiveProbing:
    """One volume's probes; `as_of_s` is now."""

    def __init__(self, tree: LiveTree, machine: Machine, directory: str, *, as_of_s: float, flow: Flow) -> None:
        self._tree = tree
        self._machine = machine
        self._directory = directory
        self._as_of_s = as_of_s
        self._flow = flow

    def run(self, probes: Sequence[Probe]) -> tuple[LiveProbe, ...]:
        """The answers in the order of `probes`."""
        return tuple(self._answer(probe) for probe in probes)

    def _answer(self, probe: Probe) -> LiveProbe:
        self._flow.check()
        try:
            outcome = self._ask(probe)
        except NotAskedError as error:
            return LiveProbe(label(probe), ProbeState.NOT_ASKED, str(error))
        return LiveProbe(outcome.probe, ProbeState.PASSED if outcome.is_passed else ProbeState.FAILED, outcome.detail)

    def _ask(self, probe: Probe) -> ProbeOutcome:
        if isinstance(probe, JsonProbe | Sha256Probe | SqliteProbe):
            flaws = {shown(one.path): self._flaw(probe, one) for one in self._tree.matches(probe.path) if _is_file(one)}
            return judge_files(probe, flaws)
        if isinstance(probe, CommandProbe):
            raise NotAskedError("a command may change files, so it is not run on the live volume")
        if isinstance(probe, ExistsProbe):
            return judge_exists(probe, found=len(self._tree.matches(probe.path)))
        dates = [found.mtime_s for found in self._tree.files_of(probe.path)]
        if isinstance(probe, CountProbe):
            return judge_count(probe, files=len(dates))
        return judge_newest(probe, newest_s=max(dates, default=None), as_of_s=self._as_of_s, where="")

    def _flaw(self, probe: JsonProbe | Sha256Probe | SqliteProbe, found: Listed) -> str | None:
        if isinstance(probe, SqliteProbe):
            return self._database_flaw(probe, found)
        if isinstance(probe, JsonProbe):
            return self._json_flaw(found)
        output = self._collect(digest_script(self._directory, found.path, is_link=_is_link(found)))
        return "cannot be read" if output is None else digest_flaw(probe, output[:64].decode("ascii", "replace"))

    def _json_flaw(self, found: Listed) -> str | None:
        limit = JSON_LIMIT_BYTES + 1
        content = self._collect(content_script(self._directory, found.path, limit_bytes=limit, is_link=_is_link(found)))
        return "is no file of this volume, or cannot be read" if content is None else json_flaw(content)

    def _database_flaw(self, probe: SqliteProbe, found: Listed) -> str | None:
        if _is_link(found):
            raise NotAskedError(f"{shown(found.path)} is a link, and where its side files lie is not known")
        names = [found.path, *(found.path + ending for ending in _SIDE_FILES)]
        size = sum(one.size_bytes for one in map(self._tree.find, names) if one is not None)
        if size > _DATABASE_LIMIT_BYTES:
            raise NotAskedError(f"{shown(found.path)} is too large to be copied for it; a drill asks it of a restore")
        stamp = stamp_script(self._directory, names)
        for _ in range(_TRIES):
            before = self._machine.collect(stamp)
            with tempfile.TemporaryDirectory(prefix="flykeep-inspect-") as folder:
                copied = Path(folder) / "database"
                is_there = self._copy(names, copied)
                if self._machine.collect(stamp) != before:
                    continue
                return database_flaw(copied, probe.rows, flow=self._flow) if is_there else "is gone, or cannot be read"
        raise NotAskedError(f"{shown(found.path)} was written each time it was copied; a drill asks it of a restore")

    def _copy(self, names: Sequence[bytes], copied: Path) -> bool:
        """The database and the files beside it that are there; False where the database is not."""
        for name in names:
            script = content_script(self._directory, name, limit_bytes=2 * _DATABASE_LIMIT_BYTES, is_link=False)
            content = self._collect(script)
            if content is not None:
                ending = name[len(names[0]) :].decode("ascii")
                copied.with_name(copied.name + ending).write_bytes(content)
        return copied.exists()

    def _collect(self, script: bytes) -> bytes | None:
        """All of the output; None where the file could not be opened."""
        pieces: list[bytes] = []
        ended = self._machine.run(script, pieces.append)
        return None if ended.code else b"".join(pieces)


def _is_link(found: Listed) -> bool:
    return found.type is EntryType.SYMLINK


def _is_file(found: Listed) -> bool:
    return found.type is not EntryType.DIRECTORY

"""Asks a restored volume what its owner wants to know of it.

Databases are recovered where they lie, as their application would, so they are asked after everything that only reads;
commands may do anything, so they come last. On a volume that is kept, databases are read without a trace, or recovered
in a copy, and a command that changes anything has failed.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from flykeep.domain.artifact import EntryType
from flykeep.domain.probes import (
    CommandProbe,
    CountProbe,
    ExistsProbe,
    FileProbe,
    JsonProbe,
    Probe,
    ProbeOutcome,
    RowFloor,
    Sha256Probe,
    SqliteProbe,
    digest_flaw,
    judge_command,
    judge_count,
    judge_exists,
    judge_files,
    judge_newest,
    sqlite_flaw,
)
from flykeep.worker.channel import Flow
from flykeep.worker.database_copy import copied_database, unfinished_of
from flykeep.worker.remote_tar import shown
from flykeep.worker.tree import Tree

JSON_LIMIT_BYTES = 64 << 20
_MESSAGES = 10
_STEPS_BETWEEN_LOOKS = 100_000
_LOOK_EVERY_S = 0.2
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}


class Probing:
    """One volume's probes; `as_of_s` is when the backup was made."""

    def __init__(self, tree: Tree, *, as_of_s: float, flow: Flow, is_kept: bool = False) -> None:
        self._is_kept = is_kept
        self._tree = tree
        self._as_of_s = as_of_s
        self._flow = flow

    def run(self, probes: Sequence[Probe]) -> tuple[ProbeOutcome, ...]:
        """The outcomes in the order of `probes`."""
        outcomes: dict[int, ProbeOutcome] = {}
        for at in sorted(range(len(probes)), key=lambda at: _turn(probes[at])):
            self._flow.check()
            outcomes[at] = self._ask(probes[at])
        return tuple(outcomes[at] for at in range(len(probes)))

    def _ask(self, probe: Probe) -> ProbeOutcome:
        if isinstance(probe, JsonProbe | Sha256Probe | SqliteProbe):
            return self._each_file(probe, self._flaw_finder(probe))
        if isinstance(probe, CommandProbe):
            return self._traceless(probe) if self._is_kept else self._command(probe)
        if isinstance(probe, ExistsProbe):
            return judge_exists(probe, found=sum(1 for _ in self._tree.matches(probe.path)))
        dates = [found.facts.mtime_s for found in self._tree.files_of(probe.path)]
        if isinstance(probe, CountProbe):
            return judge_count(probe, files=len(dates))
        return judge_newest(probe, newest_s=max(dates, default=None), as_of_s=self._as_of_s)

    def _flaw_finder(self, probe: FileProbe) -> Callable[[Path], str | None]:
        if isinstance(probe, JsonProbe):
            return _file_json_flaw
        if isinstance(probe, Sha256Probe):
            return lambda real: digest_flaw(probe, self._tree.sha256(real))
        return lambda real: self._sqlite_flaw(real, probe.rows)

    def _each_file(self, probe: FileProbe, flaw: Callable[[Path], str | None]) -> ProbeOutcome:
        flaws: dict[str, str | None] = {}
        for found in list(self._tree.matches(probe.path)):
            if found.facts.type is EntryType.DIRECTORY:
                continue
            real = self._tree.inside(found.path)
            try:
                flaws[shown(found.path)] = "is no file of this volume" if real is None else flaw(real)
            except OSError as error:
                flaws[shown(found.path)] = f"cannot be read: {error.strerror}"
        return judge_files(probe, flaws)

    def _sqlite_flaw(self, real: Path, floors: Sequence[RowFloor]) -> str | None:
        if not self._is_kept:
            return database_flaw(real, floors, flow=self._flow)
        if not unfinished_of(real):
            return database_flaw(real, floors, flow=self._flow, mode="immutable=1")
        with copied_database(real) as copy:
            return database_flaw(copy, floors, flow=self._flow)

    def _traceless(self, probe: CommandProbe) -> ProbeOutcome:
        """Its answer counts only where everything is as it was before."""
        before = self._tree.fingerprint()
        outcome = self._command(probe)
        if self._tree.fingerprint() == before:
            return outcome
        return judge_command(probe, exit_code=None, trouble="changed the volume, which is to be used as it is")

    def _command(self, probe: CommandProbe) -> ProbeOutcome:
        try:
            process = subprocess.Popen(
                probe.run,
                cwd=self._tree.root,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            return judge_command(probe, exit_code=None, trouble=f"could not be started: {error.strerror}")
        try:
            return judge_command(probe, exit_code=self._exit_code(process, probe.timeout_s))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _exit_code(self, process: subprocess.Popen[bytes], timeout_s: float) -> int | None:
        """None where it takes too long; raises StoppedError where the work was called off."""
        waited_s = 0.0
        while waited_s < timeout_s:
            step_s = min(_LOOK_EVERY_S, timeout_s - waited_s)
            try:
                return process.wait(step_s)
            except subprocess.TimeoutExpired:
                waited_s += step_s
                self._flow.check()
        return None


def _turn(probe: Probe) -> int:
    return 2 if isinstance(probe, CommandProbe) else int(isinstance(probe, SqliteProbe))


def database_flaw(real: Path, floors: Sequence[RowFloor], *, flow: Flow, mode: str = "mode=rw") -> str | None:
    """SQLite replays or rolls back what its last writer left; in exclusive mode it needs no new file for that."""
    if not real.stat().st_size:
        return "is empty"  # SQLite would call that a database without tables
    try:
        with closing(sqlite3.connect(f"file:{quote(os.fsencode(real))}?{mode}", uri=True)) as database:
            database.set_progress_handler(lambda: flow.failure is not None, _STEPS_BETWEEN_LOOKS)
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA trusted_schema = OFF")
            messages = [str(row[0]) for row in database.execute(f"PRAGMA integrity_check({_MESSAGES})")]
            rows = {floor.table: _count(database, floor.table) for floor in floors}
    except sqlite3.Error as error:
        flow.check()
        return f"cannot be opened: {error}"
    return sqlite_flaw(messages, rows, floors)


def json_flaw(content: bytes) -> str | None:
    """What keeps these bytes from being one JSON document."""
    if len(content) > JSON_LIMIT_BYTES:
        return f"is larger than {JSON_LIMIT_BYTES >> 20} MiB"
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        return f"is not JSON, line {error.lineno} column {error.colno}"
    except (ValueError, RecursionError):
        return "is not JSON"
    return None


def _file_json_flaw(real: Path) -> str | None:
    with real.open("rb") as file:
        return json_flaw(file.read(JSON_LIMIT_BYTES + 1))


def _count(database: sqlite3.Connection, table: str) -> int | None:
    quoted = table.replace('"', '""')
    try:
        count: int = database.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0]  # noqa: S608 - quoted
    except sqlite3.OperationalError:
        return None
    return count

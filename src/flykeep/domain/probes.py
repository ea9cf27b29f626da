"""What a restored volume must show, and what each question's answer means. Paths are globs from the volume's root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from flykeep.domain.wording import span

_NAMED = 3


@dataclass(frozen=True, slots=True)
class ExistsProbe:
    """Something is there."""

    path: str
    kind: Literal["exists"] = "exists"


@dataclass(frozen=True, slots=True)
class JsonProbe:
    """Every file that matches can be read as JSON."""

    path: str
    kind: Literal["json"] = "json"


@dataclass(frozen=True, slots=True)
class RowFloor:
    """A table that must hold at least so many rows."""

    table: str
    min_rows: int


@dataclass(frozen=True, slots=True)
class SqliteProbe:
    """Every database that matches is whole after the recovery its application would do."""

    path: str
    rows: tuple[RowFloor, ...] = ()
    kind: Literal["sqlite"] = "sqlite"


@dataclass(frozen=True, slots=True)
class CountProbe:
    """So many files are at or below the path."""

    path: str
    min_files: int
    kind: Literal["count"] = "count"


@dataclass(frozen=True, slots=True)
class NewerThanProbe:
    """The newest file at or below the path was at most this old when the backup was made."""

    path: str
    max_age_s: float
    kind: Literal["newer_than"] = "newer_than"


@dataclass(frozen=True, slots=True)
class Sha256Probe:
    """Every file that matches has this content."""

    path: str
    sha256: str
    kind: Literal["sha256"] = "sha256"


@dataclass(frozen=True, slots=True)
class CommandProbe:
    """The command ends with 0; it runs in the volume's root, without a shell, and its output is not kept."""

    run: tuple[str, ...]
    timeout_s: float
    kind: Literal["command"] = "command"


FileProbe: TypeAlias = JsonProbe | SqliteProbe | Sha256Probe
Probe: TypeAlias = ExistsProbe | JsonProbe | SqliteProbe | CountProbe | NewerThanProbe | Sha256Probe | CommandProbe


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """One question, its answer, and in what words."""

    probe: str
    is_passed: bool
    detail: str


def label(probe: Probe) -> str:
    """`json crocbot.json`; of a command only its name, for its arguments are nobody else's business."""
    return f"{probe.kind} {probe.run[0] if isinstance(probe, CommandProbe) else probe.path}"


def judge_exists(probe: ExistsProbe, *, found: int) -> ProbeOutcome:
    return _outcome(probe, is_passed=found > 0, detail=f"{found} found" if found else "nothing there")


def judge_files(probe: FileProbe, flaws: Mapping[str, str | None]) -> ProbeOutcome:
    """`flaws` holds every file that matches, with what is wrong with it."""
    bad = [f"{path} {flaw}" for path, flaw in flaws.items() if flaw is not None]
    if not flaws:
        return _outcome(probe, is_passed=False, detail="no such file")
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        return _outcome(probe, is_passed=False, detail="; ".join(bad[:_NAMED]) + more)
    return _outcome(probe, is_passed=True, detail="1 file" if len(flaws) == 1 else f"{len(flaws)} files")


def judge_count(probe: CountProbe, *, files: int) -> ProbeOutcome:
    return _outcome(
        probe, is_passed=files >= probe.min_files, detail=f"{files} files, at least {probe.min_files} wanted"
    )


def judge_newest(
    probe: NewerThanProbe, *, newest_s: float | None, as_of_s: float, where: str = " in the backup"
) -> ProbeOutcome:
    """`newest_s` is when the newest file was written, `as_of_s` when the backup was made, or looked into: `where`."""
    if newest_s is None:
        return _outcome(probe, is_passed=False, detail="no file there")
    age_s = as_of_s - newest_s
    detail = f"the newest file was {_span(age_s)} old{where}, {_span(probe.max_age_s)} are allowed"
    return _outcome(probe, is_passed=age_s <= probe.max_age_s, detail=detail)


def judge_command(probe: CommandProbe, *, exit_code: int | None, trouble: str | None = None) -> ProbeOutcome:
    """`exit_code` None means that it did not end in time, or could not be started: then `trouble` says why."""
    if trouble is not None:
        return _outcome(probe, is_passed=False, detail=trouble)
    if exit_code is None:
        return _outcome(probe, is_passed=False, detail=f"did not end within {_span(probe.timeout_s)}")
    return _outcome(probe, is_passed=exit_code == 0, detail=f"ended with {exit_code}")


def sqlite_flaw(messages: Sequence[str], rows: Mapping[str, int | None], floors: Sequence[RowFloor]) -> str | None:
    """`messages` are those of SQLite's own check; `rows` None is a table that cannot be counted."""
    if list(messages) != ["ok"]:
        return f"is damaged: {'; '.join(messages[:_NAMED]) or 'SQLite gave no answer'}"
    for floor in floors:
        count = rows.get(floor.table)
        if count is None:
            return f"has no readable table {floor.table}"
        if count < floor.min_rows:
            return f"has {count} rows in {floor.table}, at least {floor.min_rows} wanted"
    return None


def digest_flaw(probe: Sha256Probe, sha256: str) -> str | None:
    return None if sha256 == probe.sha256.lower() else f"has other content, sha256 {sha256}"


def _outcome(probe: Probe, *, is_passed: bool, detail: str) -> ProbeOutcome:
    return ProbeOutcome(label(probe), is_passed, detail)


def _span(seconds: float) -> str:
    return span(timedelta(seconds=seconds))

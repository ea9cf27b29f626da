"""Drills on a volume that is to be used: nothing is changed by asking, and what is filled in is all of the artifact."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from flykeep.adapters.system import SystemClock
from flykeep.domain.artifact import IndexEntry
from flykeep.domain.errors import IntegrityError, UnpackError
from flykeep.domain.probes import CommandProbe, Probe, ProbeOutcome, RowFloor, SqliteProbe
from flykeep.ports.worker import DrillOrder
from flykeep.worker import faithful
from flykeep.worker.channel import Flow
from flykeep.worker.drill import Drill
from flykeep.worker.report import Reporter
from flykeep.worker.tree import Tree
from flykeep.worker.unpack import Unpacker
from flykeep.worker.verify import referenced
from tests.unit.worker.artifacts import StoredTree, stored

ROWS = (RowFloor("messages", 3),)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (root := tmp_path / "volume").mkdir()
    (root / "crocbot.json").write_text("{}")
    (root / "crocbot.json").chmod(0o640)
    (root / "folder").mkdir(mode=0o711)
    os.link(root / "crocbot.json", root / "folder" / "again")
    (root / "folder" / "link").symlink_to("../crocbot.json")
    return root


def leave_a_database(at: Path) -> None:
    """One whose last rows stand in its log only, as after a crash."""
    with closing(sqlite3.connect(at.with_suffix(".made"))) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE messages (text)")
        database.commit()
        database.executemany("INSERT INTO messages VALUES (?)", [("a",), ("b",), ("c",)])
        database.commit()
        shutil.copy(at.with_suffix(".made"), at)
        shutil.copy(at.with_suffix(".made-wal"), f"{at}-wal")
    at.with_suffix(".made").unlink()


def asked(root: Path, *probes: Probe, is_kept: bool = True) -> list[ProbeOutcome]:
    order = DrillOrder(str(root), 1e12, probes, None, None, 60.0, is_kept=is_kept)
    return list(run(order))


def run(order: DrillOrder) -> tuple[ProbeOutcome, ...]:
    drill = Drill(order, flow=Flow(), reporter=Reporter(io.BytesIO(), SystemClock()), clock=SystemClock())
    result = drill.run()
    assert result.comparison is None or result.comparison.is_agreed
    return result.probes


def fingerprint(root: Path) -> int:
    return Tree(root, as_of_s=0, flow=Flow()).fingerprint()


def test_a_database_with_an_unfinished_log_is_recovered_in_a_copy_and_stays_as_it_is(volume: Path) -> None:
    leave_a_database(volume / "app.db")
    before = fingerprint(volume)
    (outcome,) = asked(volume, SqliteProbe("app.db", ROWS))
    assert outcome.is_passed, outcome.detail
    assert fingerprint(volume) == before
    asked(volume, SqliteProbe("app.db", ROWS), is_kept=False)
    assert fingerprint(volume) != before


def test_a_database_without_anything_unfinished_is_read_where_it_is(volume: Path) -> None:
    leave_a_database(volume / "app.db")
    (volume / "app.db-wal").unlink()
    before = fingerprint(volume)
    (outcome,) = asked(volume, SqliteProbe("app.db", ROWS))
    assert (outcome.is_passed, "no readable table" in outcome.detail) == (False, True)
    assert fingerprint(volume) == before


@pytest.mark.parametrize("command", ["echo x >> crocbot.json", "chmod 600 crocbot.json", "touch new", "mv folder f2"])
def test_a_command_that_changes_anything_has_failed(volume: Path, command: str) -> None:
    (outcome,) = asked(volume, CommandProbe(("sh", "-c", command), 5.0))
    assert (outcome.is_passed, "changed the volume" in outcome.detail) == (False, True)


def test_a_command_that_only_looks_answers_as_ever(volume: Path) -> None:
    looks, fails = CommandProbe(("test", "-e", "crocbot.json"), 5.0), CommandProbe(("false",), 5.0)
    assert [outcome.is_passed for outcome in asked(volume, looks, fails)] == [True, False]


# filling


def filling(artifact: StoredTree, into: Path) -> DrillOrder:
    reference = artifact.reference(at_s=1.0, is_exact=True)
    return DrillOrder(str(into), 1.0, (), reference, artifact.contents_order(), 60.0, is_kept=True)


def test_what_is_filled_in_has_modes_dates_and_links(volume: Path, tmp_path: Path) -> None:
    artifact = stored(volume, tmp_path / "store")
    (into := tmp_path / "into").mkdir()
    (into / "lost+found").mkdir()
    run(filling(artifact, into))
    for path in ("crocbot.json", "folder", "folder/link"):
        one, other = (volume / path).lstat(), (into / path).lstat()
        assert (one.st_mode, one.st_uid, int(one.st_mtime)) == (other.st_mode, other.st_uid, int(other.st_mtime))
    assert (into / "folder" / "again").stat().st_ino == (into / "crocbot.json").stat().st_ino


def entries_of(artifact: StoredTree) -> list[IndexEntry]:
    return list(referenced(artifact.reference(at_s=1.0), flow=Flow()))


def other_mode(path: Path) -> None:
    path.chmod(0o600)


def other_date(path: Path) -> None:
    os.utime(path, (1, 1))


def other_file(path: Path) -> None:
    before = path.stat()
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, (before.st_atime, before.st_mtime))


def no_file(path: Path) -> None:
    path.unlink()


HARMS: tuple[tuple[Callable[[Path], None], str], ...] = (
    (other_mode, "has mode 600 and not 640"),
    (other_date, "has another date"),
    (other_file, "is not the same file"),
    (no_file, "cannot be looked at: No such file or directory"),
)


@pytest.mark.parametrize(("harm", "words"), HARMS)
def test_an_entry_that_differs_in_anything_but_its_content_is_found(
    volume: Path, tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    artifact = stored(volume, tmp_path / "store")
    harm(volume / ("folder/again" if harm is other_file else "crocbot.json"))
    entries = entries_of(artifact)
    with pytest.raises(IntegrityError, match=words):
        faithful.check_attributes(volume, entries, flow=Flow(), has_owners=False)


def test_owners_count_where_files_can_be_given_away(volume: Path, tmp_path: Path) -> None:
    artifact = stored(volume, tmp_path / "store")
    [first, *_] = entries_of(artifact)
    foreign = type(first)(**{name: getattr(first, name) for name in first.__slots__} | {"uid": first.uid + 7})
    with pytest.raises(IntegrityError, match="belongs to"):
        faithful.check_attributes(volume, [foreign], flow=Flow(), has_owners=True)
    faithful.check_attributes(volume, [foreign, first], flow=Flow(), has_owners=True)
    faithful.check_attributes(volume, [foreign], flow=Flow(), has_owners=False)


def test_a_tree_that_differs_everywhere_is_given_up_early(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = stored(volume, tmp_path / "store")
    monkeypatch.setattr(faithful, "_DOUBTS_AT_MOST", 1)
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(IntegrityError) as failed:
        faithful.check_attributes(empty, entries_of(artifact), flow=Flow(), has_owners=False)
    assert failed.value.facts["entries"] == "2"


def test_folders_that_did_not_get_their_modes_are_noticed_by_the_filling_itself(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = stored(volume, tmp_path / "store")
    (into := tmp_path / "into").mkdir()
    monkeypatch.setattr(Unpacker, "finish", lambda _: None)
    with pytest.raises(IntegrityError, match="is not what the artifact says"):
        run(filling(artifact, into))


def test_a_volume_that_cannot_be_written_through_is_not_filled(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def syncfs(self, _descriptor: int) -> int:
            return -1

    artifact = stored(volume, tmp_path / "store")
    (into := tmp_path / "into").mkdir()
    monkeypatch.setattr(faithful.ctypes, "CDLL", lambda *_args, **_named: Broken())
    with pytest.raises(UnpackError, match="could not be written through"):
        run(filling(artifact, into))

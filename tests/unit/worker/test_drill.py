"""A drill on a directory: what it finds, what it compares, and what it makes of damage."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from flykeep.adapters.system import SystemClock
from flykeep.domain.errors import ConfigError, FlykeepError, IntegrityError, RefusalError
from flykeep.domain.probes import (
    CommandProbe,
    CountProbe,
    ExistsProbe,
    JsonProbe,
    NewerThanProbe,
    Probe,
    RowFloor,
    Sha256Probe,
    SqliteProbe,
)
from flykeep.ports.worker import DrillOrder, DrillResult, IndexReference, VerifyOrder
from flykeep.worker.channel import Flow, StoppedError
from flykeep.worker.drill import Drill
from flykeep.worker.report import Reporter
from tests.unit.worker.artifacts import StoredTree, stored

LONG_AGO = 1_700_000_000
ARTIFACT_AT = LONG_AGO + 86_400
SNAPSHOT_AT = ARTIFACT_AT + 86_400


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "volume"
    (root / "credentials").mkdir(parents=True)
    (root / "crocbot.json").write_text('{"name": "croc"}')
    (root / "credentials" / "token").write_text("secret")
    (root / "credentials" / "current").symlink_to("token")
    settle(root)
    return root


def settle(root: Path, at_s: int = LONG_AGO) -> None:
    """Nothing was touched since then."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            os.utime(Path(folder) / name, (at_s, at_s), follow_symlinks=False)
        os.utime(folder, (at_s, at_s))


def drill(
    directory: Path,
    *probes: Probe,
    reference: IndexReference | None = None,
    restore: VerifyOrder | None = None,
    as_of_s: float = SNAPSHOT_AT,
    flow: Flow | None = None,
) -> DrillResult:
    order = DrillOrder(str(directory), as_of_s, probes, reference, restore, 60.0)
    return Drill(order, flow=flow or Flow(), reporter=Reporter(io.BytesIO(), SystemClock()), clock=SystemClock()).run()


def answers(directory: Path, *probes: Probe) -> list[tuple[bool, str]]:
    return [(outcome.is_passed, outcome.detail) for outcome in drill(directory, *probes).probes]


def test_the_contents_are_counted_and_every_step_is_timed(tree: Path) -> None:
    result = drill(tree)
    assert (result.files, result.content_bytes) == (2, 22)
    assert [(timing.step, timing.is_restore) for timing in result.timings] == [("survey", False), ("probe", False)]


def test_an_empty_volume_holds_no_file(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert drill(tmp_path).files == 0


# probes


def test_probes_answer_in_their_own_order(tree: Path) -> None:
    asked = (
        CommandProbe(("true",), 5.0),
        ExistsProbe("credentials"),
        JsonProbe("*.json"),
        CountProbe("credentials", 1),
        NewerThanProbe("**", SNAPSHOT_AT - LONG_AGO),
        Sha256Probe("credentials/token", "2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B"),
    )
    outcomes = drill(tree, *asked).probes
    assert [outcome.probe.split()[0] for outcome in outcomes] == [probe.kind for probe in asked]
    assert all(outcome.is_passed for outcome in outcomes), outcomes


def test_each_probe_says_why_it_fails(tree: Path) -> None:
    (tree / "broken.json").write_text('{"name":\n "croc"')
    (tree / "broken.bin").write_bytes(b"\xc3\x28{")
    assert answers(
        tree,
        ExistsProbe("agents/**"),
        JsonProbe("broken.json"),
        JsonProbe("broken.bin"),
        JsonProbe("nothing.json"),
        CountProbe("credentials", 2),
        NewerThanProbe("credentials", 3600.0),
        NewerThanProbe("agents", 3600.0),
        Sha256Probe("crocbot.json", "00" * 32),
        CommandProbe(("false",), 5.0),
        CommandProbe(("/no/such/command",), 5.0),
        CommandProbe(("sleep", "60"), 0.01),
    ) == [
        (False, "nothing there"),
        (False, "broken.json is not JSON, line 2 column 8"),
        (False, "broken.bin is not JSON"),
        (False, "no such file"),
        (False, "1 files, at least 2 wanted"),
        (False, "the newest file was 2 d old in the backup, 1 h are allowed"),
        (False, "no file there"),
        (False, f"crocbot.json has other content, sha256 {sha256_of(tree / 'crocbot.json')}"),
        (False, "ended with 1"),
        (False, "could not be started: No such file or directory"),
        (False, "did not end within 0 s"),
    ]


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("target", ["../outside.json", "/etc/hostname", "credentials", "round"])
def test_a_link_is_followed_inside_the_volume_only(tree: Path, target: str) -> None:
    (tree.parent / "outside.json").write_text("{}")
    (tree / "link.json").symlink_to(target)
    (tree / "round").symlink_to("link.json")
    (tree / "good.json").symlink_to("crocbot.json")
    assert answers(tree, JsonProbe("link.json"), JsonProbe("good.json")) == [
        (False, "link.json is no file of this volume"),
        (True, "1 file"),
    ]


def crashed_database(directory: Path, *, mode: str) -> Path:
    """A database as a crash leaves it: its last transactions stand in a side file only."""
    directory.mkdir(exist_ok=True)
    source = directory.parent / "source.db"
    database = sqlite3.connect(source, isolation_level=None)
    database.execute(f"PRAGMA journal_mode = {mode}")
    database.execute("CREATE TABLE users (name TEXT)")
    database.executemany("INSERT INTO users VALUES (?)", [("a",), ("b",), ("c",)])
    if mode == "DELETE":  # a hot journal: the crash comes in the middle of a transaction that reached the file
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        database.executemany("INSERT INTO users VALUES (?)", [(f"{number:0900}",) for number in range(50)])
    for side in ("", "-wal", "-journal"):
        if source.with_name(f"source.db{side}").exists():
            shutil.copy(source.with_name(f"source.db{side}"), directory / f"app.db{side}")
    database.close()
    return directory / "app.db"


@pytest.mark.parametrize(("mode", "side"), [("WAL", "-wal"), ("DELETE", "-journal")])
def test_a_crashed_database_is_recovered_as_its_application_would(tree: Path, mode: str, side: str) -> None:
    path = crashed_database(tree, mode=mode)
    assert path.with_name(f"app.db{side}").stat().st_size
    assert answers(tree, SqliteProbe("app.db", (RowFloor("users", 3),))) == [(True, "1 file")]
    assert answers(tree, SqliteProbe("*.db", (RowFloor("users", 4),))) == [
        (False, "app.db has 3 rows in users, at least 4 wanted")
    ]


def test_a_database_is_compared_before_its_recovery_changes_it(tree: Path, tmp_path: Path) -> None:
    path = crashed_database(tree, mode="WAL")
    digest = Sha256Probe("app.db", sha256_of(path))
    settle(tree)
    reference = stored(tree, tmp_path / "store").reference(at_s=ARTIFACT_AT)
    result = drill(tree, SqliteProbe("app.db"), digest, reference=reference)
    assert result.comparison is not None
    assert (result.comparison.changed, result.comparison.gone, result.comparison.contradictions) == (0, 0, 0)
    assert [outcome.is_passed for outcome in result.probes] == [True, True]
    assert sha256_of(path) != digest.sha256  # the recovery did change it


def tear(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 + 8 : 4096 + 400] = b"\xff" * 392
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (tear, "is damaged"),
        (lambda path: path.write_bytes(b"no database at all" * 100), "cannot be opened: file is not a database"),
        (lambda path: path.write_bytes(b""), "is empty"),
    ],
)
def test_a_damaged_database_fails(tree: Path, harm: Callable[[Path], None], words: str) -> None:
    path = tree / "app.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE users (name TEXT)")
        database.executemany("INSERT INTO users VALUES (?)", [("x" * 100,)] * 200)
    harm(path)
    [(is_passed, detail)] = answers(tree, SqliteProbe("app.db"))
    assert not is_passed
    assert f"app.db {words}" in detail


def test_a_table_that_is_not_there_fails(tree: Path) -> None:
    with sqlite3.connect(tree / "app.db") as database:
        database.execute("CREATE TABLE users (name TEXT)")
    assert answers(tree, SqliteProbe("app.db", (RowFloor('or"ders', 0),))) == [
        (False, 'app.db has no readable table or"ders')
    ]


def test_work_that_is_called_off_stops_at_a_probe(tree: Path) -> None:
    flow = Flow()
    flow.fail(IntegrityError("enough"))
    with pytest.raises(StoppedError):
        drill(tree, CommandProbe(("sleep", "60"), 60.0), flow=flow)


# the two chains


@pytest.fixture
def artifact(tree: Path, tmp_path: Path) -> StoredTree:
    return stored(tree, tmp_path / "store")


def told(result: DrillResult) -> dict[str, str]:
    assert result.comparison is not None
    assert result.comparison.contradictions == len(result.comparison.first)
    return {difference.path: difference.why for difference in result.comparison.first}


def test_what_was_not_touched_is_the_same_in_both(tree: Path, artifact: StoredTree) -> None:
    result = drill(tree, reference=artifact.reference(at_s=ARTIFACT_AT))
    assert told(result) == {}
    assert result.comparison is not None
    assert result.comparison.equal == artifact.totals.entries


@pytest.mark.parametrize("as_of_s", [SNAPSHOT_AT, ARTIFACT_AT - 3600])
def test_content_that_differs_without_a_newer_date_contradicts(
    tree: Path, artifact: StoredTree, as_of_s: float
) -> None:
    (tree / "crocbot.json").write_text('{"name": "rock"}')
    settle(tree)
    result = drill(tree, reference=artifact.reference(at_s=ARTIFACT_AT), as_of_s=as_of_s)
    assert told(result) == {"crocbot.json": "has other content, and nothing says that it was written since"}


def test_what_was_written_made_and_removed_in_between_is_explained(tree: Path, artifact: StoredTree) -> None:
    (tree / "crocbot.json").write_text('{"name": "newer"}')
    (tree / "credentials" / "token").unlink()
    (tree / "credentials" / "fresh").write_text("x")
    for path in (tree / "crocbot.json", tree / "credentials" / "fresh", tree / "credentials"):
        os.utime(path, (ARTIFACT_AT + 60, ARTIFACT_AT + 60))
    result = drill(tree, reference=artifact.reference(at_s=ARTIFACT_AT))
    assert told(result) == {}
    assert result.comparison is not None
    assert (result.comparison.changed, result.comparison.gone, result.comparison.added) == (1, 1, 1)


def test_what_came_or_went_without_a_trace_contradicts(tree: Path, artifact: StoredTree) -> None:
    (tree / "credentials" / "token").unlink()
    (tree / "credentials" / "current").unlink()
    (tree / "credentials" / "current").symlink_to("elsewhere")
    (tree / "planted").write_text("x")
    settle(tree)
    assert told(drill(tree, reference=artifact.reference(at_s=ARTIFACT_AT))) == {
        "credentials/token": "is missing, and nothing says that it came or went since",
        "credentials/current": "points elsewhere than in the artifact",
        "planted": "is not in the artifact, and nothing says that it came or went since",
    }


def test_an_artifact_newer_than_the_snapshot_is_explained_by_its_own_dates(tree: Path, tmp_path: Path) -> None:
    (tree / "later").write_text("x")
    os.utime(tree, (ARTIFACT_AT - 60, ARTIFACT_AT - 60))
    artifact = stored(tree, tmp_path / "store")
    (tree / "later").unlink()
    (tree / "removed").write_text("x")
    settle(tree)
    result = drill(tree, reference=artifact.reference(at_s=ARTIFACT_AT), as_of_s=ARTIFACT_AT - 7200)
    assert told(result) == {}
    assert result.comparison is not None
    assert (result.comparison.gone, result.comparison.added) == (1, 1)


def test_what_the_export_left_out_or_saw_change_is_not_compared(tree: Path, artifact: StoredTree) -> None:
    (tree / "cache").mkdir()
    (tree / "cache" / "x").write_text("x")
    (tree / "crocbot.json").write_text('{"name": "rock"}')
    settle(tree)
    reference = artifact.reference(at_s=ARTIFACT_AT, exclude=("cache/**", "cache"), unsteady=("crocbot.json",))
    assert told(drill(tree, reference=reference)) == {}


def test_a_volume_with_its_own_dates_of_change_shows_what_kept_its_date(tree: Path, artifact: StoredTree) -> None:
    """A volume made of a snapshot: nothing else can have set a later date of change than its own application."""
    (tree / "crocbot.json").write_text('{"name": "rock"}')
    settle(tree)  # the application put the date back; the filesystem knows
    now_s = SystemClock().now().timestamp() + 60
    result = drill(tree, reference=artifact.reference(at_s=now_s - 86_400), as_of_s=now_s)
    assert told(result) == {}


# from an artifact


def test_an_artifact_is_restored_and_is_exactly_its_index(tree: Path, artifact: StoredTree, tmp_path: Path) -> None:
    (into := tmp_path / "into").mkdir()
    reference = artifact.reference(at_s=ARTIFACT_AT, is_exact=True)
    result = drill(into, JsonProbe("crocbot.json"), reference=reference, restore=artifact.contents_order())
    assert told(result) == {}
    assert (result.timings[0].step, result.timings[0].is_restore) == ("restore", True)
    assert (into / "credentials" / "token").read_text() == "secret"
    assert result.probes[0].is_passed


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda one: one.path(one.data).write_bytes(b"x" * one.data.size_bytes), IntegrityError),
        (lambda one: one.path(one.index).write_bytes(one.path(one.index).read_bytes()[:-40]), IntegrityError),
    ],
)
def test_a_spoiled_artifact_is_told(
    artifact: StoredTree, tmp_path: Path, spoil: Callable[[StoredTree], None], error: type[FlykeepError]
) -> None:
    (into := tmp_path / "into").mkdir()
    spoil(artifact)
    with pytest.raises(error):
        started(into, artifact)


def started(into: Path, artifact: StoredTree, *, identity: str | None = None) -> DrillResult:
    """With the flow's own failure raised, as the worker's last frame does."""
    flow = Flow()
    try:
        return drill(into, restore=artifact.contents_order(identity=identity), flow=flow)
    except StoppedError:
        assert flow.failure is not None
        raise flow.failure from None


def test_a_wrong_key_is_told(artifact: StoredTree, tmp_path: Path) -> None:
    (into := tmp_path / "into").mkdir()
    with pytest.raises(IntegrityError, match="another key"):
        started(into, artifact, identity=str(artifact.daemon))


def test_a_directory_that_is_not_empty_is_refused(artifact: StoredTree, tree: Path) -> None:
    with pytest.raises(RefusalError):
        started(tree, artifact)


def test_an_index_needs_a_key(tree: Path, artifact: StoredTree) -> None:
    blind = dataclasses.replace(artifact.reference(at_s=ARTIFACT_AT), identity=None)
    with pytest.raises(ConfigError):
        drill(tree, reference=blind)

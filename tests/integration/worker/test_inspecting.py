"""A volume in use is looked at over SSH, beside an artifact's index; nothing on it changes."""

from __future__ import annotations

import asyncio
import io
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flykeep.adapters.system import SystemClock
from flykeep.domain.errors import ConfigError, IntegrityError, SshError
from flykeep.domain.inspection import Change, ProbeState
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
from flykeep.ports.inspecting import InspectOrder, InspectResult
from flykeep.ports.store import StoreOrder
from flykeep.ports.worker import ExportOrder, ExportResult, IndexReference
from flykeep.worker import live_probes
from flykeep.worker.channel import Flow, StoppedError
from flykeep.worker.inspect import Inspection
from flykeep.worker.report import Reporter
from tests.full import full
from tests.integration.worker.exporting import Keys, export_order, result_here
from tests.integration.worker.trees import facts
from tests.sshd import Sshd

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
NAMES = ("plain", "with space", "two\nlines", "-dash", "quo'te", "back\\slash", "\udcff\udc80")


def inspect_order(tree: Path, *, probes: tuple[Probe, ...] = (), **changes: Any) -> InspectOrder:
    made = InspectOrder(
        token="t0",
        access=None,
        directory=str(tree),
        as_of_s=SystemClock().now().timestamp(),
        probes=probes,
        reference=None,
        is_digesting=False,
        digest_bytes=1 << 20,
        names=20,
        deadline_s=110.0,
        stall_timeout_s=60.0,
    )
    return replace(made, **changes)


def reference(order: ExportOrder, result: ExportResult, keys: Keys | None) -> IndexReference:
    return IndexReference(
        store=order.store,
        index=result.index,
        identity=str(keys.index) if keys else None,
        is_encrypted=keys is not None,
        artifact_at_s=0.0,
        include=order.include,
        exclude=order.exclude,
    )


def seen(order: InspectOrder, flow: Flow | None = None) -> InspectResult:
    flow = flow or Flow()
    try:
        return Inspection(order, flow=flow, reporter=Reporter(io.BytesIO(), SystemClock())).run()
    except StoppedError as error:
        raise flow.failure or error from error


def answers(result: InspectResult) -> list[tuple[str, str]]:
    return [(probe.state.value, probe.detail) for probe in result.probes]


def touched(path: Path, text: str) -> None:
    """Other contents of the same size and date."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def here(tree: Path) -> Iterator[Path]:
    for name in NAMES:
        (tree / name).write_text(f"of {name!r}")
    (tree / "folder").mkdir()
    (tree / "folder" / "inner").write_text("inner")
    (tree / "link").symlink_to("plain")
    os.link(tree / "plain", tree / "folder" / "hard")
    return tree  # type: ignore[return-value]


async def exported(
    tree: Path, store: StoreOrder, keys: Keys | None, **changes: Any
) -> tuple[ExportOrder, ExportResult, IndexReference]:
    order = export_order(None, tree, store, keys, **changes)
    result = await result_here(order)
    return order, result, reference(order, result, keys)


async def test_over_ssh_the_same_tree_is_the_same_and_stays_so(
    here: Path, store: StoreOrder, keys: Keys, sshd: Sshd
) -> None:
    _, _, index = await exported(here, store, keys)
    before = facts(here)
    order = inspect_order(here, access=sshd.access(), reference=index, is_digesting=True)
    result = await asyncio.to_thread(seen, order)
    assert result.diff is not None
    assert result.diff.is_same, result.diff.names
    assert result.diff.digests == len(NAMES) + 2
    assert result.diff.equal.entries == len(NAMES) + 4
    assert (result.files, result.directories) == (len(NAMES) + 2, 1)
    assert result.use is not None
    assert result.use.total_bytes >= result.use.used_bytes > 0
    assert facts(here) == before


@full("as over SSH, path by path")
async def test_what_a_restore_would_change_is_told_path_by_path(
    here: Path, store: StoreOrder, keys: Keys, sshd: Sshd
) -> None:
    (here / "same size").write_text("aaaa")
    (here / "same date").write_text("bbbb")
    (here / "type").write_text("")
    _, _, index = await exported(here, store, keys)
    (here / "two\nlines").unlink()
    (here / "folder" / "new").write_text("12345")
    (here / "plain").write_text("longer than it was")
    (here / "same size").write_text("cccc")
    os.utime(here / "same size", (1, 1))
    touched(here / "same date", "dddd")
    os.utime(here / "quo'te", (5, 5))
    (here / "link").unlink()
    (here / "link").symlink_to("elsewhere")
    (here / "type").unlink()
    (here / "type").mkdir()
    order = inspect_order(here, access=sshd.access(), reference=index)
    result = await asyncio.to_thread(seen, order)
    diff = result.diff
    assert diff is not None
    assert {(one.path, one.change, one.why) for one in diff.names} == {
        ("two\nlines", Change.BROUGHT_BACK, "is not on the volume"),
        ("folder/new", Change.LOST, "is not in the artifact"),
        ("plain", Change.OVERWRITTEN, "has another size"),
        ("folder/hard", Change.OVERWRITTEN, "has another size"),
        ("same size", Change.OVERWRITTEN, "has other contents"),
        ("link", Change.OVERWRITTEN, "links elsewhere"),
        ("type", Change.OVERWRITTEN, "is a dir now and a file in the artifact"),
    }
    assert (diff.lost.content_bytes, diff.brought_back.content_bytes) == (5, len("of 'two\\nlines'"))
    assert diff.digests == 2  # those of the same size and another date: one of them was only touched
    deep = await asyncio.to_thread(seen, replace(order, is_digesting=True))
    assert deep.diff is not None
    assert "same date" in {one.path for one in deep.diff.names}


async def test_what_lies_outside_of_the_artifacts_paths_is_told_apart(tree: Path, store: StoreOrder) -> None:
    for name in ("kept/a", "kept/skipped", "other"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("x")
    _, _, index = await exported(tree, store, None, include=("kept",), exclude=("kept/skipped",))
    (tree / "kept" / "later").write_text("x")
    diff = seen(inspect_order(tree, reference=index)).diff
    assert diff is not None
    assert {(one.path, one.change) for one in diff.names} == {
        ("kept/later", Change.LOST),
        ("kept/skipped", Change.OUTSIDE),
        ("other", Change.OUTSIDE),
    }


async def test_names_are_cut_and_counts_are_not(tree: Path, store: StoreOrder) -> None:
    _, _, index = await exported(tree, store, None)
    for number in range(5):
        (tree / f"new{number}").write_text("x")
    diff = seen(inspect_order(tree, reference=index, names=2)).diff
    assert diff is not None
    assert (diff.lost.entries, len(diff.names), diff.is_cut) == (5, 2, True)


async def test_only_so_much_is_hashed_without_being_asked_for(tree: Path, store: StoreOrder) -> None:
    (tree / "small").write_text("x")
    (tree / "large").write_text("y" * 5000)
    _, _, index = await exported(tree, store, None)
    for name in ("small", "large"):
        os.utime(tree / name, (7, 7))
    diff = seen(inspect_order(tree, reference=index, digest_bytes=100)).diff
    assert diff is not None
    assert (diff.digests, diff.by_date) == (1, 1)
    assert [(one.path, one.why) for one in diff.names] == [("large", "has another date")]


async def test_many_files_are_hashed_in_batches(tree: Path, store: StoreOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tree / f"f{number}").write_text("x")
    _, _, index = await exported(tree, store, None)
    monkeypatch.setattr("flykeep.worker.live_diff._BATCH", 2)
    (tree / "f4").write_text("y")
    diff = seen(inspect_order(tree, reference=index, is_digesting=True)).diff
    assert diff is not None
    assert (diff.digests, [one.path for one in diff.names]) == (5, ["f4"])


async def test_an_index_that_is_not_what_was_written_proves_nothing(tree: Path, store: StoreOrder, keys: Keys) -> None:
    (tree / "a").write_text("a")
    _, result, index = await exported(tree, store, keys)
    with pytest.raises(ConfigError, match="no identity"):
        seen(inspect_order(tree, reference=replace(index, identity=None)))
    spoiled = replace(index, index=replace(result.index, sha256="00" * 32))
    with pytest.raises(IntegrityError):
        seen(inspect_order(tree, reference=spoiled))


def test_a_directory_that_is_not_there_is_said(tree: Path) -> None:
    with pytest.raises(SshError, match="no such directory"):
        seen(inspect_order(tree / "nowhere"))


async def test_probes_are_asked_over_ssh_without_touching_anything(here: Path, sshd: Sshd) -> None:
    (here / "good.json").write_text("{}")
    (here / "bad.json").write_text("{")
    (here / "empty").write_text("")
    (here / "json link").symlink_to("good.json")
    (here / "way out").symlink_to("/etc/passwd")
    before = facts(here)
    probes = (
        ExistsProbe("good.json"),
        ExistsProbe("nothing"),
        JsonProbe("good.json"),
        JsonProbe("bad.json"),
        JsonProbe("json link"),
        JsonProbe("way out"),
        CountProbe("folder", min_files=2),
        CountProbe("folder", min_files=3),
        NewerThanProbe("folder", max_age_s=3600),
        Sha256Probe("empty", EMPTY),
        Sha256Probe("way out", EMPTY),
        CommandProbe(("touch", "made"), timeout_s=5),
    )
    result = await asyncio.to_thread(seen, inspect_order(here, access=sshd.access(), probes=probes))
    assert [(probe.probe, probe.state.value) for probe in result.probes] == [
        ("exists good.json", "passed"),
        ("exists nothing", "failed"),
        ("json good.json", "passed"),
        ("json bad.json", "failed"),
        ("json json link", "passed"),
        ("json way out", "failed"),
        ("count folder", "passed"),
        ("count folder", "failed"),
        ("newer_than folder", "passed"),
        ("sha256 empty", "passed"),
        ("sha256 way out", "failed"),
        ("command touch", "not_asked"),
    ]
    assert result.probes[3].detail == "bad.json is not JSON, line 1 column 2"
    assert "in the backup" not in result.probes[8].detail
    assert facts(here) == before


@pytest.fixture
def database(tree: Path) -> Iterator[sqlite3.Connection]:
    """A database that its application has open, with rows in its write-ahead log only."""
    with closing(sqlite3.connect(tree / "app.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE users (name)")
        connection.executemany("INSERT INTO users VALUES (?)", [("a",), ("b",)])
        yield connection


async def test_an_open_database_is_checked_as_a_copy_with_what_its_log_holds(
    tree: Path, database: sqlite3.Connection, sshd: Sshd
) -> None:
    before = facts(tree)
    probes = (
        SqliteProbe("app.db", (RowFloor("users", 2),)),
        SqliteProbe("app.db", (RowFloor("users", 3),)),
    )
    result = await asyncio.to_thread(seen, inspect_order(tree, access=sshd.access(), probes=probes))
    assert answers(result) == [
        ("passed", "1 file"),
        ("failed", "app.db has 2 rows in users, at least 3 wanted"),
    ]
    assert facts(tree) == before
    assert database.execute("SELECT count(*) FROM users").fetchone() == (2,)


@full("a database under fire")
def test_a_database_that_is_written_all_the_time_is_not_judged(
    tree: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = live_probes.LiveProbing._copy

    def copy_and_write(self: Any, *arguments: Any) -> bool:
        is_there = copied(self, *arguments)
        with (tree / "app.db-wal").open("ab") as log:
            log.write(b"x")
        return is_there

    monkeypatch.setattr(live_probes.LiveProbing, "_copy", copy_and_write)
    (probe,) = seen(inspect_order(tree, probes=(SqliteProbe("app.db"),))).probes
    assert probe.state is ProbeState.NOT_ASKED
    assert "was written each time" in probe.detail
    assert database.total_changes


def test_a_database_is_not_copied_where_that_cannot_say_anything(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "large.db").write_bytes(b"x" * 2000)
    (tree / "linked.db").symlink_to("large.db")
    (tree / "empty.db").write_bytes(b"")
    (tree / "torn.db").write_bytes(b"no database")
    probes = tuple(SqliteProbe(name) for name in ("linked.db", "empty.db", "torn.db"))
    linked, empty, torn = seen(inspect_order(tree, probes=probes)).probes
    assert (linked.state, empty.detail) == (ProbeState.NOT_ASKED, "empty.db is empty")
    assert "cannot be opened" in torn.detail
    monkeypatch.setattr(live_probes, "_DATABASE_LIMIT_BYTES", 1000)
    (large,) = seen(inspect_order(tree, probes=(SqliteProbe("large.db"),))).probes
    assert (large.state, "too large" in large.detail) == (ProbeState.NOT_ASKED, True)


def test_a_file_that_cannot_be_read_fails_its_probe(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "a.json").write_text("{}")
    (tree / "a.db").write_bytes(b"x")
    monkeypatch.setattr(live_probes.LiveProbing, "_collect", lambda *_: None)
    probes = (JsonProbe("a.json"), Sha256Probe("a.json", EMPTY), SqliteProbe("a.db"))
    assert answers(seen(inspect_order(tree, probes=probes))) == [
        ("failed", "a.json is no file of this volume, or cannot be read"),
        ("failed", "a.json cannot be read"),
        ("failed", "a.db is gone, or cannot be read"),
    ]

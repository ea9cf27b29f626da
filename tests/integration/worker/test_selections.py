"""Include and exclude, as GNU tar and busybox on a machine carry them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.domain.errors import ConfigError
from flykeep.ports.store import StoreOrder
from tests.integration.worker.exporting import Keys, export_order, exported_here, verify_order
from tests.sshd import Sshd

FILES = [
    b"crocbot.json",
    b"agents/a/sessions/1.jsonl",
    b"agents/a/sessions/2.txt",
    b"agents/b/memory/m.md",
    b"agents/b/cache/x",
    b"credentials/key",
    b"logs/today.log",
    b"logs/old/yesterday.log",
    b"odd 'names'\n/\xff.log",
    b"-n/cache/y",
    b"lost+found/inode",
    b".flykeep-old-01RUN/tree/replaced",
    b".flykeep-import-01RUN/tree/staged",
]
ALL = {path for path in FILES if not path.startswith((b"lost+found", b".flykeep-"))}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "volume"
    for name in FILES:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name)
    return root


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), ("logs/**",), {path for path in ALL if not path.startswith(b"logs/")}),
        ((), ("logs",), {path for path in ALL if not path.startswith(b"logs/")}),
        ((), ("**/cache", "*/old"), {p for p in ALL if b"/cache/" not in p and b"/old/" not in p}),
        ((), ("**/*.log",), {path for path in ALL if not path.endswith(b".log")}),
        ((), ("agents/**/m.md",), {path for path in ALL if not path.endswith(b"m.md")}),
        (("crocbot.json", "credentials/**"), (), {b"crocbot.json", b"credentials/key"}),
        (("agents/*/sessions/*.jsonl",), (), {b"agents/a/sessions/1.jsonl"}),
        (("agents/**",), ("agents/*/cache",), {p for p in ALL if p.startswith(b"agents/") and b"cache" not in p}),
        (("odd*", "-n"), (), {b"odd 'names'\n/\xff.log", b"-n/cache/y"}),
        (("lost+found",), (), {b"lost+found/inode"}),
        ((".flykeep-old-*",), (), {b".flykeep-old-01RUN/tree/replaced"}),
    ],
)
async def test_exactly_the_selected_files_are_taken(
    sshd: Sshd,
    store: StoreOrder,
    keys: Keys,
    tree: Path,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    expected: set[bytes],
) -> None:
    order = export_order(sshd.access(), tree, store, keys, include=include, exclude=exclude)
    result, entries = await exported_here(order, keys)

    assert {entry.path for entry in entries if entry.sha256 is not None} == expected
    assert result.changed == ()


async def test_gnu_tar_brings_the_directories_above_a_selected_file(
    gnu_sshd: Sshd, store: StoreOrder, keys: Keys, tree: Path
) -> None:
    order = export_order(gnu_sshd.access(), tree, store, keys, include=("agents/*/sessions/*.jsonl",))
    _, entries = await exported_here(order, keys)
    paths = [entry.path for entry in entries]
    assert paths == [b"agents", b"agents/a", b"agents/a/sessions", b"agents/a/sessions/1.jsonl"]


async def test_busybox_without_excludes_takes_the_root_directory_and_lost_and_found_too(
    busybox_sshd: Sshd, store: StoreOrder, keys: Keys, tree: Path
) -> None:
    order = export_order(busybox_sshd.access(), tree, store, keys)
    _, entries = await exported_here(order, keys)
    paths = {entry.path for entry in entries}
    assert {b".", b"lost+found/inode"} <= paths


async def test_an_include_that_matches_nothing_stops_the_export_and_is_named(
    sshd: Sshd, store: StoreOrder, keys: Keys, tree: Path
) -> None:
    order = export_order(sshd.access(), tree, store, keys, include=("crocbot.json", "agents/*/nothing"))
    with pytest.raises(ConfigError, match=r"agents/\*/nothing"):
        await exported_here(order, keys)


async def test_an_export_without_encryption_is_plain_zstd_and_verifies(
    gnu_sshd: Sshd, workers: LocalWorkers, store: StoreOrder, tree: Path
) -> None:
    order = export_order(gnu_sshd.access(), tree, store, None)
    result = await workers.export(order, on_progress=lambda _: None)
    assert [part.key.rsplit("/", 1)[1] for part in (*result.data, result.index)] == ["data.tar.zst", "index.jsonl.zst"]
    for level in ("bytes", "contents"):
        await workers.verify(verify_order(order, result, None, level=level), on_progress=lambda _: None)


async def test_open_sqlite_databases_are_named(sshd: Sshd, store: StoreOrder, keys: Keys, tree: Path) -> None:
    for name, content in [("app.db", "x"), ("app.db-wal", "x"), ("b.db", "x"), ("b.db-wal", ""), ("stray-wal", "x")]:
        (tree / "agents" / name).write_text(content)
    order = export_order(sshd.access(), tree, store, keys)
    result, _ = await exported_here(order, keys)
    assert result.open_databases == ("agents/app.db-wal",)

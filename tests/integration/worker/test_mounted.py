"""A tree that is mounted on the worker's own machine: the same export as over SSH, without a connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.domain.errors import ConfigError, SshError
from flykeep.ports.store import StoreOrder
from tests.integration.worker.exporting import Keys, export_order, exported_here, verify_order
from tests.integration.worker.trees import add_socket, build_tree
from tests.sshd import Sshd


@pytest.mark.parametrize(
    ("include", "exclude"),
    [((), ()), ((), ("many/0*", "**/*.bin")), (("many/1*", "to-large", "d*/**"), ("many/11",))],
)
async def test_an_idle_tree_gives_the_same_artifact_mounted_and_over_ssh(
    gnu_sshd: Sshd, store: StoreOrder, keys: Keys, tree: Path, include: tuple[str, ...], exclude: tuple[str, ...]
) -> None:
    build_tree(tree, small_files=300, large_bytes=3 << 20)
    add_socket(tree / "service.sock")
    (tree / "app.db").write_bytes(b"pages")
    (tree / "app.db-wal").write_bytes(b"frames")
    results, indexes = [], []
    for access in (gnu_sshd.access(), None):
        result, entries = await exported_here(
            export_order(access, tree, store, keys, include=include, exclude=exclude), keys
        )
        results.append(result)
        indexes.append(entries)
    over_ssh, mounted = results
    assert indexes[0] == indexes[1]
    assert len(indexes[0]) > 30
    assert mounted.totals == over_ssh.totals, "byte for byte the same tar"
    for name in ("changed", "skipped", "open_databases", "tar_flavour", "tar_exit_code"):
        assert getattr(mounted, name) == getattr(over_ssh, name)


async def test_a_worker_process_exports_a_mounted_tree(
    workers: LocalWorkers, store: StoreOrder, keys: Keys, tree: Path
) -> None:
    build_tree(tree, small_files=100, large_bytes=1 << 20)
    order = export_order(None, tree, store, keys, threads=2)
    result = await workers.export(order, on_progress=lambda _: None)
    verified = await workers.verify(verify_order(order, result, keys, level="contents"), on_progress=lambda _: None)
    assert verified.entries_compared == result.totals.entries > 100


async def test_what_is_not_there_is_told_as_over_ssh(store: StoreOrder, keys: Keys, tree: Path) -> None:
    with pytest.raises(SshError, match="has no directory"):
        await exported_here(export_order(None, tree / "absent", store, keys), keys)
    with pytest.raises(ConfigError, match="nothing on the volume matches absent"):
        await exported_here(export_order(None, tree, store, keys, include=("absent",)), keys)

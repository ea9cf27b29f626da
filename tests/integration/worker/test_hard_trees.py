"""Acceptance 3: what comes back with age, zstd and tar is what was there, or the artifact names what is not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.domain.artifact import ChangedFile, IndexEntry
from flykeep.domain.errors import TruncatedStreamError
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.ports.worker import ExportOrder, ExportResult
from tests.full import IS_FULL
from tests.integration.worker.exporting import MIB, Keys, export_order, index_order, restore_by_hand
from tests.integration.worker.proxy import Proxy, running_proxy
from tests.integration.worker.trees import add_socket, build_tree, facts
from tests.sshd import Sshd

SMALL_FILES = 20_000 if IS_FULL else 4_000
LARGE_BYTES = 1 << 30 if IS_FULL else 64 << 20  # .ci/run takes the large one


def stored(store: StoreOrder) -> list[Path]:
    return (
        [path for path in Path(str(store.path)).rglob("*") if path.is_file()] if Path(str(store.path)).exists() else []
    )


async def test_every_kind_of_entry_comes_back_identical(
    flavour: str, sshd: Sshd, workers: LocalWorkers, keys: Keys, roomy: Path
) -> None:
    tree, restored = roomy / "volume", roomy / "restored"
    build_tree(tree, small_files=SMALL_FILES, large_bytes=LARGE_BYTES)
    add_socket(tree / "service.sock")
    store = StoreOrder(name="shelf", type=StoreType.DIRECTORY, path=str(roomy / "store"))
    order = export_order(sshd.access(), tree, store, keys, threads=2)

    result = await workers.export(order, on_progress=lambda _: None)

    assert result.tar_flavour == flavour
    assert result.changed == ()
    assert result.skipped == ("service.sock",)
    restore_by_hand([Path(str(store.path)) / part.key for part in result.data], keys, restored)
    assert facts(restored) == facts(tree)


async def test_files_that_change_while_they_are_read_are_named_and_no_others(
    gnu_sshd: Sshd, workers: LocalWorkers, store: StoreOrder, keys: Keys, tree: Path
) -> None:
    victims, big = _files_around_a_big_one(tree)
    async with running_proxy(gnu_sshd.port, hold_after=4 * MIB) as proxy:
        order = export_order(gnu_sshd.access(port=proxy.port), tree, store, keys)

        def when_held() -> None:
            with big.open("ab") as file:
                file.write(b"grown")
            for victim in victims:
                victim.unlink()

        result = await _interfering(workers, order, proxy, when_held)

    archived = {entry.path async for entry in _index(workers, order, result, keys)}
    gone = {f"live/{victim.name}" for victim in victims if os.fsencode(f"live/{victim.name}") not in archived}
    assert gone
    expected = {ChangedFile(name, "vanished") for name in gone} | {ChangedFile(f"live/{big.name}", "changed")}
    assert set(result.changed) == expected


async def test_with_busybox_what_differs_afterwards_is_named_and_nothing_else(
    busybox_sshd: Sshd, workers: LocalWorkers, store: StoreOrder, keys: Keys, tree: Path
) -> None:
    victims, big = _files_around_a_big_one(tree)
    async with running_proxy(busybox_sshd.port, hold_after=4 * MIB) as proxy:
        order = export_order(busybox_sshd.access(port=proxy.port), tree, store, keys)

        def when_held() -> None:
            with big.open("ab") as file:
                file.write(b"grown")
            for victim in victims:
                victim.unlink()

        result = await _interfering(workers, order, proxy, when_held)

    expected = {ChangedFile(f"live/{victim.name}", "vanished") for victim in victims}
    assert set(result.changed) == expected | {ChangedFile(f"live/{big.name}", "changed")}


async def test_a_file_that_shrinks_under_gnu_tar_is_named(
    gnu_sshd: Sshd, workers: LocalWorkers, store: StoreOrder, keys: Keys, tree: Path
) -> None:
    _, big = _files_around_a_big_one(tree)
    async with running_proxy(gnu_sshd.port, hold_after=4 * MIB) as proxy:
        order = export_order(gnu_sshd.access(port=proxy.port), tree, store, keys)
        result = await _interfering(workers, order, proxy, lambda: os.truncate(big, 10))

    assert result.changed == (ChangedFile(f"live/{big.name}", "shrank"),)


async def test_a_file_that_shrinks_under_busybox_breaks_its_archive_and_leaves_nothing_stored(
    busybox_sshd: Sshd, workers: LocalWorkers, store: StoreOrder, keys: Keys, tree: Path
) -> None:
    _, big = _files_around_a_big_one(tree)
    async with running_proxy(busybox_sshd.port, hold_after=4 * MIB) as proxy:
        order = export_order(busybox_sshd.access(port=proxy.port), tree, store, keys)
        with pytest.raises(TruncatedStreamError):
            await _interfering(workers, order, proxy, lambda: os.truncate(big, 10))

    assert stored(store) == []


def _files_around_a_big_one(tree: Path) -> tuple[list[Path], Path]:
    """300 small files, and the one that tar will read first among them made large."""
    live = tree / "live"
    live.mkdir()
    names = [b"%03d-\xff.log" % number for number in range(150)] + [b"%03d a:b\n.log" % number for number in range(150)]
    for name in names:
        with (live / os.fsdecode(name)).open("wb") as file:
            file.write(name)
    first, *rest = live.iterdir()
    first.write_bytes(os.urandom(40 * MIB))
    return rest, first


async def _interfering(
    workers: LocalWorkers, order: ExportOrder, proxy: Proxy, act: Callable[[], object]
) -> ExportResult:
    """Do something to the tree while tar stands still in the middle of the big file."""
    export = asyncio.create_task(workers.export(order, on_progress=lambda _: None))
    await proxy.held.wait()
    act()
    proxy.release()
    return await export


async def _index(
    workers: LocalWorkers, order: ExportOrder, result: ExportResult, keys: Keys
) -> AsyncIterator[IndexEntry]:
    async with workers.index(index_order(order, result, keys)) as entries:
        async for entry in entries:
            yield entry

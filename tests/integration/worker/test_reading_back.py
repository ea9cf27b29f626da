"""Verifying artifacts and reading their indexes through workers, sound ones and damaged ones."""

from __future__ import annotations

import dataclasses
import os
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.adapters.system import SystemClock
from flykeep.domain.errors import ConfigError, IntegrityError, SshError, StoreNotFoundError, WorkerError
from flykeep.ports.store import StoreOrder
from flykeep.ports.worker import ExportOrder, ExportResult, ReachOrder
from tests.full import full
from tests.integration.worker.exporting import MIB, Keys, export_order, index_order, verify_order
from tests.sshd import Sshd, free_port


@pytest.fixture
async def exported(
    gnu_sshd: Sshd, workers: LocalWorkers, store: StoreOrder, keys: Keys, tree: Path
) -> tuple[ExportOrder, ExportResult]:
    (tree / "big").write_bytes(os.urandom(3 * MIB))
    for number in range(50):
        (tree / f"file-{number}").write_text(str(number))
    order = export_order(gnu_sshd.access(), tree, store, keys, frame_bytes=MIB)
    return order, await workers.export(order, on_progress=lambda _: None)


@pytest.mark.parametrize("level", ["bytes", "contents"])
@pytest.mark.parametrize("victim", ["data", "index"])
async def test_one_flipped_byte_is_found(
    exported: tuple[ExportOrder, ExportResult], workers: LocalWorkers, keys: Keys, level: str, victim: str
) -> None:
    order, result = exported
    sound = await workers.verify(verify_order(order, result, keys, level=level), on_progress=lambda _: None)
    assert sound.bytes_read == result.index.size_bytes + sum(part.size_bytes for part in result.data)

    path = Path(str(order.store.path)) / (result.data[0] if victim == "data" else result.index).key
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(IntegrityError):
        await workers.verify(verify_order(order, result, keys, level=level), on_progress=lambda _: None)


async def test_contents_that_are_not_what_the_index_says_are_found(
    exported: tuple[ExportOrder, ExportResult],
    workers: LocalWorkers,
    keys: Keys,
    gnu_sshd: Sshd,
    tree: Path,
    store: StoreOrder,
) -> None:
    order, result = exported
    (tree / "file-7").write_text("8")
    again = export_order(gnu_sshd.access(), tree, store, keys)
    other = await workers.export(again, on_progress=lambda _: None)
    mixed = dataclasses.replace(verify_order(order, result, keys, level="contents"), index=other.index)
    with pytest.raises(IntegrityError, match="differs from the index"):
        await workers.verify(mixed, on_progress=lambda _: None)


async def test_a_missing_object_is_named(
    exported: tuple[ExportOrder, ExportResult], workers: LocalWorkers, keys: Keys
) -> None:
    order, result = exported
    (Path(str(order.store.path)) / result.data[0].key).unlink()
    with pytest.raises(StoreNotFoundError):
        await workers.verify(verify_order(order, result, keys, level="bytes"), on_progress=lambda _: None)


async def test_contents_need_an_identity(
    exported: tuple[ExportOrder, ExportResult], workers: LocalWorkers, keys: Keys
) -> None:
    order, result = exported
    blind = dataclasses.replace(verify_order(order, result, keys, level="contents"), identity=None)
    with pytest.raises(ConfigError, match="identity"):
        await workers.verify(blind, on_progress=lambda _: None)


async def test_the_index_key_opens_the_index_but_never_the_data(
    exported: tuple[ExportOrder, ExportResult], workers: LocalWorkers, keys: Keys
) -> None:
    order, result = exported
    async with workers.index(index_order(order, result, keys, contains="file-1")) as entries:
        found = sorted([entry.path async for entry in entries])
    assert found == sorted([b"file-1", *(b"file-1%d" % number for number in range(10))])

    nosy = dataclasses.replace(verify_order(order, result, keys, level="contents"), identity=str(keys.index))
    with pytest.raises(IntegrityError, match="another key"):
        await workers.verify(nosy, on_progress=lambda _: None)


@full("as every worker that is left")
async def test_leaving_an_index_early_stops_its_worker(
    exported: tuple[ExportOrder, ExportResult], workers: LocalWorkers, keys: Keys
) -> None:
    order, result = exported
    async with workers.index(index_order(order, result, keys)) as entries:
        first = await anext(entries)
    assert first.path == b"."


@pytest.mark.parametrize("server", ["moto", "rclone"])
async def test_exports_to_s3_are_read_back_and_verify(
    request: pytest.FixtureRequest, server: str, gnu_sshd: Sshd, workers: LocalWorkers, keys: Keys, tree: Path
) -> None:
    (tree / "big").write_bytes(os.urandom(20 * MIB))
    s3_order: StoreOrder = request.getfixturevalue(f"{server}_order")
    order = export_order(gnu_sshd.access(), tree, s3_order, keys, threads=2)
    result = await workers.export(order, on_progress=lambda _: None)
    verified = await workers.verify(verify_order(order, result, keys, level="contents"), on_progress=lambda _: None)
    assert verified.entries_compared == 2


async def test_reach_says_which_tar_there_is(sshd: Sshd, flavour: str, workers: LocalWorkers) -> None:
    assert (await workers.reach(ReachOrder(access=sshd.access(), deadline_s=30))).tar_flavour == flavour


async def test_reach_fails_where_nobody_listens(gnu_sshd: Sshd, workers: LocalWorkers) -> None:
    with pytest.raises(SshError, match="refused"):
        await workers.reach(ReachOrder(access=gnu_sshd.access(port=free_port()), deadline_s=30))


async def test_a_worker_that_dies_without_a_word_leaves_its_last_ones_in_the_error(gnu_sshd: Sshd) -> None:
    broken = LocalWorkers(clock=SystemClock(), command=("sh", "-c", "echo out of luck >&2; exit 3"))
    with pytest.raises(WorkerError, match="ended with 3 and no result: out of luck"):
        await broken.reach(ReachOrder(access=gnu_sshd.access(), deadline_s=5))


async def test_a_worker_that_speaks_nonsense_is_an_error(gnu_sshd: Sshd) -> None:
    broken = LocalWorkers(clock=SystemClock(), command=("sh", "-c", "echo hello"))
    with pytest.raises(WorkerError, match="nonsense"):
        await broken.reach(ReachOrder(access=gnu_sshd.access(), deadline_s=5))


async def test_a_worker_that_ignores_the_end_of_its_input_is_killed(gnu_sshd: Sshd) -> None:
    stubborn = LocalWorkers(
        clock=SystemClock(), command=("sh", "-c", "echo {}; exec sleep 600"), grace=timedelta(milliseconds=20)
    )
    with pytest.raises(WorkerError, match="nonsense"):
        await stubborn.reach(ReachOrder(access=gnu_sshd.access(), deadline_s=5))


async def test_the_environment_of_a_worker_holds_no_secret_of_the_daemon(gnu_sshd: Sshd, tmp_path: Path) -> None:
    curious = LocalWorkers(
        clock=SystemClock(),
        command=("sh", "-c", f"env > {tmp_path}/env; exit 3"),
        environment={"PATH": os.environ["PATH"], "FLY_API_TOKEN": "planted", "FLYKEEP_STATE__URL": "planted"},
    )
    with pytest.raises(WorkerError):
        await curious.reach(ReachOrder(access=gnu_sshd.access(), deadline_s=5))
    assert "planted" not in (tmp_path / "env").read_text()

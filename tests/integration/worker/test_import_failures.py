"""Whatever dies while files are on their way: the volume's own content stays, and the next import succeeds."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.domain.errors import (
    IntegrityError,
    InterruptedRunError,
    RefusalError,
    SshError,
    StoreError,
    WorkerError,
)
from flykeep.ports.importing import ArtifactSource, Placed, Placing
from flykeep.ports.store import StoreOrder
from flykeep.ports.worker import Progress
from tests.full import full
from tests.integration.worker.artifacts import made, member
from tests.integration.worker.exporting import Keys, export_order, result_here
from tests.integration.worker.importing import Volume, artifact_source, compared
from tests.integration.worker.proxy import Proxy, running_proxy
from tests.integration.worker.trees import build_tree
from tests.s3_standin import S3Standin
from tests.sshd import Sshd

MIB = 1 << 20


@pytest.fixture
def volume(tmp_path: Path, gnu_sshd: Sshd) -> Volume:
    directory = tmp_path / "volume"
    directory.mkdir()
    build_tree(directory, small_files=5, large_bytes=0)
    return Volume(directory, gnu_sshd)


@pytest.fixture
async def source(volume: Volume, tmp_path: Path, s3_store: StoreOrder, keys: Keys) -> ArtifactSource:
    tree = tmp_path / "wanted"
    build_tree(tree, small_files=20, large_bytes=12 * MIB)
    order = export_order(volume.sshd.access(), tree, s3_store, keys)
    return artifact_source(order, await result_here(order), keys)


@pytest.fixture
async def proxy(gnu_sshd: Sshd) -> AsyncIterator[Proxy]:
    """Holds a session once it carried 4 MiB to the machine."""
    async with running_proxy(gnu_sshd.port, hold_after_sent=4 * MIB) as running:
        yield running


def remote_tars(volume: Volume) -> list[int]:
    """The tars that unpack into this volume."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                folder = os.readlink(process / "cwd")  # noqa: PTH115
            except OSError:
                continue
            if words[:2] == [b"tar", b"-x"] and folder.startswith(str(volume.directory)):
                found.append(int(process.name))
    return found


async def require_untouched(volume: Volume, before: object, run_id: str) -> None:
    """The content is as before, and what was staged can be discarded."""
    assert volume.content() == before
    assert await volume.place(run_id, Placing.DISCARD) is Placed.NOTHING
    assert volume.content() == before
    assert not volume.own()


def cut(proxy: Proxy, _: Volume) -> None:
    proxy.cut()


def kill_session(proxy: Proxy, volume: Volume) -> None:
    volume.sshd.kill_sessions()
    proxy.release()


def kill_tar(proxy: Proxy, volume: Volume) -> None:
    for pid in remote_tars(volume):
        os.kill(pid, signal.SIGKILL)
    proxy.release()


@pytest.mark.parametrize(
    "strike",
    [
        cut,
        pytest.param(kill_session, marks=full("as a cut, from the other side")),
        pytest.param(kill_tar, marks=full("as a cut, from the other side")),
    ],
)
async def test_a_connection_or_tar_that_dies_leaves_the_volume_as_it_was(
    volume: Volume, source: ArtifactSource, proxy: Proxy, strike: Callable[[Proxy, Volume], None]
) -> None:
    before = volume.content()
    order = volume.order(source, port=proxy.port)
    staging = asyncio.create_task(volume.stage(order))
    await proxy.held.wait()

    strike(proxy, volume)

    with pytest.raises(SshError):
        await staging
    await require_untouched(volume, before, order.run_id)
    await volume.take_in(source)
    assert volume.content().items() >= compared(volume.directory.parent / "wanted").items()


@full("waits for a deadline")
async def test_a_tar_that_takes_nothing_any_more_is_given_up(
    volume: Volume, source: ArtifactSource, proxy: Proxy
) -> None:
    before = volume.content()
    order = volume.order(source, port=proxy.port, stall_timeout_s=0.3)

    with pytest.raises(SshError, match=r"took nothing for 0\.3 s|nothing arrived"):
        await volume.stage(order)

    proxy.cut()
    await require_untouched(volume, before, order.run_id)


async def test_a_store_that_dies_ends_the_import(
    volume: Volume, proxy: Proxy, standin: S3Standin, s3_store: StoreOrder, keys: Keys, tmp_path: Path
) -> None:
    """More than all pipes and buffers between them hold."""
    (tmp_path / "wanted").mkdir()
    (tmp_path / "wanted" / "noise").write_bytes(os.urandom(48 * MIB))
    exported = export_order(volume.sshd.access(), tmp_path / "wanted", s3_store, keys)
    source = artifact_source(exported, await result_here(exported), keys)
    before = volume.content()
    order = volume.order(source, port=proxy.port)
    staging = asyncio.create_task(volume.stage(order))
    await proxy.held.wait()

    standin.close()
    proxy.release()

    with pytest.raises(StoreError):
        await staging
    await require_untouched(volume, before, order.run_id)


@full("the data's own end, again")
async def test_an_object_that_was_cut_short_is_never_marked_whole(
    volume: Volume, source: ArtifactSource, standin: S3Standin
) -> None:
    held, before = standin.contents.objects, volume.content()
    key = next(key for key in held if key.endswith(source.objects[0].key))
    held[key] = held[key][: len(held[key]) // 2]
    order = volume.order(source)

    with pytest.raises(IntegrityError):
        await volume.stage(order)

    with pytest.raises(RefusalError, match="not whole"):
        await volume.place(order.run_id, Placing.MOVE)
    await require_untouched(volume, before, order.run_id)


@full("a coarser forgery than the next")
async def test_an_artifact_whose_data_is_not_what_its_index_says_is_never_marked_whole(
    volume: Volume, source: ArtifactSource, keys: Keys, tmp_path: Path, s3_store: StoreOrder
) -> None:
    """Another artifact's data under this one's index: everything decrypts, and nothing is moved."""
    (tmp_path / "other").mkdir()
    build_tree(tmp_path / "other", small_files=21, large_bytes=MIB)
    order = export_order(volume.sshd.access(), tmp_path / "other", s3_store, keys)
    other = await result_here(order)
    before = volume.content()
    forged = volume.order(replace(source, objects=other.data))

    with pytest.raises(IntegrityError, match="not what was judged"):
        await volume.stage(forged)

    assert volume.content() == before
    assert await volume.place(forged.run_id, Placing.DISCARD) is Placed.NOTHING


async def test_a_file_whose_bytes_are_not_those_its_index_names_is_found_on_the_machine(
    volume: Volume, tmp_path: Path
) -> None:
    """Same names, same sizes, one other byte: only a digest tells."""
    forged = made(
        tmp_path / "store",
        [member("a", b"content"), member("b", b"evil")],
        indexed=[member("a", b"content"), member("b", b"good")],
    ).order
    source = ArtifactSource(
        forged.store, forged.objects, forged.index, forged.identity, forged.index_identity, True, forged.totals
    )
    before, order = volume.content(), volume.order(source)

    with pytest.raises(IntegrityError, match="not on the machine as it was sent"):
        await volume.stage(order)

    with pytest.raises(RefusalError, match="not whole"):
        await volume.place(order.run_id, Placing.MOVE)
    await require_untouched(volume, before, order.run_id)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=full("as SIGKILL, politely"))])
async def test_a_worker_that_is_killed_leaves_the_volume_as_it_was(
    volume: Volume, source: ArtifactSource, proxy: Proxy, workers: LocalWorkers, number: signal.Signals
) -> None:
    before = volume.content()
    order = volume.order(source, port=proxy.port)
    seen: list[Progress] = []
    staging = asyncio.create_task(workers.stage(order, on_progress=seen.append))
    await proxy.held.wait()

    for pid in _children_named(b"flykeep.worker"):
        os.kill(pid, number)

    with pytest.raises((WorkerError, InterruptedRunError)):
        await staging
    proxy.cut()
    assert [progress.phase for progress in seen][:3] == ["connecting", "judging", "sending"]
    await require_untouched(volume, before, order.run_id)


@full("as a worker that is killed")
async def test_a_cancelled_import_stops_its_worker(
    volume: Volume, source: ArtifactSource, proxy: Proxy, workers: LocalWorkers
) -> None:
    before = volume.content()
    order = volume.order(source, port=proxy.port)
    staging = asyncio.create_task(workers.stage(order, on_progress=lambda _: None))
    await proxy.held.wait()

    staging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await staging

    assert not _children_named(b"flykeep.worker")
    proxy.cut()
    await require_untouched(volume, before, order.run_id)


@full("a process from its start to its end")
async def test_a_worker_process_imports_and_places(
    volume: Volume, source: ArtifactSource, workers: LocalWorkers
) -> None:
    order = volume.order(source, paths=("large.bin", "far"))

    result = await workers.stage(order, on_progress=lambda _: None)
    placed = await workers.place(volume.place_order(order.run_id, Placing.MOVE))

    assert (result.files, result.tar_flavour, placed.placed) == (1, "gnu", Placed.MOVED)
    gone = await workers.place(volume.place_order("ANOTHER", Placing.UNDO))
    assert gone.placed is Placed.NOTHING


def _children_named(word: bytes) -> list[int]:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if word in Path(f"/proc/{pid}/cmdline").read_bytes()]

"""Acceptance 4: whatever dies in mid-stream, nothing stays that could pass for an artifact; the next run succeeds."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.adapters.launchers.wire import encode_order
from flykeep.domain.errors import (
    ConfigError,
    FlykeepError,
    InterruptedRunError,
    SshError,
    StoreError,
    TruncatedStreamError,
    WorkerError,
)
from flykeep.ports.store import StoreOrder
from flykeep.ports.worker import ExportOrder, ExportResult
from tests.full import full
from tests.integration.worker.exporting import MIB, Keys, export_order, verify_order, worker_command
from tests.integration.worker.proxy import Proxy, running_proxy
from tests.s3_standin import S3Standin
from tests.sshd import Sshd, running_sshd

TAR_BYTES = 60 * MIB
HELD_AFTER = 30 * MIB


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "volume"
    root.mkdir()
    (root / "big").write_bytes(os.urandom(TAR_BYTES))
    return root


@pytest.fixture
async def proxy(gnu_sshd: Sshd) -> AsyncIterator[Proxy]:
    async with running_proxy(gnu_sshd.port, hold_after=HELD_AFTER) as running:
        yield running


def left_in(store: StoreOrder) -> list[str]:
    folder = Path(str(store.path))
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def workers_alive() -> list[psutil.Process]:
    """Workers and their ssh that descend from this process."""
    return [child for child in psutil.Process().children(recursive=True) if child.name() == "ssh" or _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "flykeep.worker" in process.cmdline()
    return False


def opened_by(pid: int) -> list[str]:
    """What a process's descriptors point to; not all of it are paths."""
    return [str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]


async def next_run_succeeds(workers: LocalWorkers, sshd: Sshd, tree: Path, store: StoreOrder, keys: Keys) -> None:
    order = export_order(sshd.access(), tree, store, keys)
    result = await workers.export(order, on_progress=lambda _: None)
    await workers.verify(verify_order(order, result, keys, level="contents"), on_progress=lambda _: None)


async def started(workers: LocalWorkers, order: ExportOrder, proxy: Proxy) -> asyncio.Task[ExportResult]:
    """An export that stands still in the middle of its stream."""
    export = asyncio.create_task(workers.export(order, on_progress=lambda _: None))
    held = asyncio.create_task(proxy.held.wait())
    await asyncio.wait({export, held}, return_when=asyncio.FIRST_COMPLETED)
    assert not export.done(), export.exception()
    return export


@full("as a cut network, from the other side")
async def test_a_killed_ssh_server_session_stores_nothing(
    workers: LocalWorkers, gnu_sshd: Sshd, proxy: Proxy, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    export = await started(workers, export_order(gnu_sshd.access(port=proxy.port), tree, store, keys), proxy)
    gnu_sshd.kill_sessions()
    proxy.release()

    with pytest.raises(SshError, match="ended before the command did"):
        await export
    assert left_in(store) == []
    await next_run_succeeds(workers, gnu_sshd, tree, store, keys)


async def test_a_cut_network_stores_nothing(
    workers: LocalWorkers, gnu_sshd: Sshd, proxy: Proxy, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    export = await started(workers, export_order(gnu_sshd.access(port=proxy.port), tree, store, keys), proxy)
    proxy.cut()

    with pytest.raises(SshError):
        await export
    assert left_in(store) == []
    await next_run_succeeds(workers, gnu_sshd, tree, store, keys)


async def test_a_killed_remote_tar_stores_nothing(
    workers: LocalWorkers, gnu_sshd: Sshd, proxy: Proxy, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    export = await started(workers, export_order(gnu_sshd.access(port=proxy.port), tree, store, keys), proxy)
    tars = [child for child in psutil.Process(gnu_sshd.process.pid).children(recursive=True) if child.name() == "tar"]
    assert len(tars) == 1
    tars[0].kill()
    proxy.release()

    with pytest.raises((SshError, TruncatedStreamError)):
        await export
    assert left_in(store) == []


async def test_a_connection_that_falls_silent_is_given_up(
    workers: LocalWorkers, gnu_sshd: Sshd, proxy: Proxy, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    order = export_order(gnu_sshd.access(port=proxy.port), tree, store, keys, stall_timeout_s=2.0)
    with pytest.raises(SshError, match="nothing arrived for 2 s"):
        await workers.export(order, on_progress=lambda _: None)
    assert left_in(store) == []


@full("as a store that dies")
async def test_a_store_that_refuses_in_mid_upload_ends_the_export_and_its_upload(
    workers: LocalWorkers, gnu_sshd: Sshd, tree: Path, standin: S3Standin, s3_store: StoreOrder, keys: Keys
) -> None:
    standin.contents.refuse_after_parts = 2
    with pytest.raises(StoreError):
        await workers.export(export_order(gnu_sshd.access(), tree, s3_store, keys), on_progress=lambda _: None)
    assert standin.contents.objects == {}
    assert standin.contents.uploads == {}

    standin.contents.refuse_after_parts = None
    await next_run_succeeds(workers, gnu_sshd, tree, s3_store, keys)


@full("the third place where a store fails")
async def test_data_is_taken_back_when_its_index_cannot_be_stored(
    workers: LocalWorkers, gnu_sshd: Sshd, tree: Path, standin: S3Standin, s3_store: StoreOrder, keys: Keys
) -> None:
    standin.contents.refuse_keys_with = "index"
    with pytest.raises(StoreError):
        await workers.export(export_order(gnu_sshd.access(), tree, s3_store, keys), on_progress=lambda _: None)
    assert any("data.tar" in request for request in standin.contents.requests)
    assert standin.contents.objects == {}


@pytest.mark.parametrize("cut_at", [512 * 5, 1 * MIB + 100, 60 * MIB + 1536])
async def test_a_tar_that_claims_success_for_a_cut_archive_is_not_believed(
    workers: LocalWorkers, tmp_path: Path, tree: Path, store: StoreOrder, keys: Keys, cut_at: int
) -> None:
    lying = tmp_path / "bin" / "tar"
    lying.parent.mkdir()
    lying.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then exec {shutil.which("tar")} "$@"; fi\n'
        f'{shutil.which("tar")} "$@" | head -c {cut_at}\nexit 0\n'
    )
    lying.chmod(0o755)
    path = f"{lying.parent}:/usr/bin:/bin"
    with running_sshd(tmp_path / "sshd", path=path) as sshd, pytest.raises(TruncatedStreamError):
        await workers.export(export_order(sshd.access(), tree, store, keys), on_progress=lambda _: None)
    assert left_in(store) == []


async def test_a_store_that_dies_in_mid_upload_ends_the_export(
    workers: LocalWorkers,
    gnu_sshd: Sshd,
    proxy: Proxy,
    tree: Path,
    s3_store: StoreOrder,
    standin: S3Standin,
    keys: Keys,
) -> None:
    order = export_order(gnu_sshd.access(port=proxy.port), tree, s3_store, keys)
    export = await started(workers, order, proxy)
    await asyncio.to_thread(standin.contents.part_seen.wait, 20)
    standin.close()
    proxy.release()

    with pytest.raises(StoreError):
        await export
    assert standin.contents.objects == {}
    again = S3Standin(standin.server_address[1])
    again.start()
    await next_run_succeeds(workers, gnu_sshd, tree, s3_store, keys)
    again.close()


async def test_a_lost_connection_aborts_the_multipart_upload(
    workers: LocalWorkers,
    gnu_sshd: Sshd,
    proxy: Proxy,
    tree: Path,
    s3_store: StoreOrder,
    standin: S3Standin,
    keys: Keys,
) -> None:
    export = await started(workers, export_order(gnu_sshd.access(port=proxy.port), tree, s3_store, keys), proxy)
    await asyncio.to_thread(standin.contents.part_seen.wait, 20)
    assert standin.contents.uploads
    proxy.cut()

    with pytest.raises(SshError):
        await export
    assert standin.contents.uploads == {}
    assert standin.contents.objects == {}


async def test_a_killed_worker_is_reported_and_its_ssh_goes_with_it(
    workers: LocalWorkers, gnu_sshd: Sshd, proxy: Proxy, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    export = await started(workers, export_order(gnu_sshd.access(port=proxy.port), tree, store, keys), proxy)
    family = workers_alive()
    assert {child.name() == "ssh" for child in family} == {True, False}
    next(child for child in family if _is_worker(child)).kill()

    with pytest.raises(WorkerError, match="ended with -9"):
        await export
    assert psutil.wait_procs(family, timeout=60)[1] == []
    assert [name for name in left_in(store) if name.endswith(".age")] == []
    await next_run_succeeds(workers, gnu_sshd, tree, store, keys)


@full("as a worker that is terminated")
async def test_cancelling_stops_the_worker_and_leaves_nothing(
    workers: LocalWorkers, gnu_sshd: Sshd, proxy: Proxy, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    export = await started(workers, export_order(gnu_sshd.access(port=proxy.port), tree, store, keys), proxy)
    family = workers_alive()
    export.cancel()

    with pytest.raises(asyncio.CancelledError):
        await export
    assert psutil.wait_procs(family, timeout=0)[1] == []
    assert left_in(store) == []


async def test_a_worker_whose_parent_was_killed_stops_by_itself(
    gnu_sshd: Sshd, proxy: Proxy, tree: Path, s3_store: StoreOrder, standin: S3Standin, keys: Keys, tmp_path: Path
) -> None:
    order = export_order(gnu_sshd.access(port=proxy.port), tree, s3_store, keys)
    (tmp_path / "order").write_bytes(encode_order(order))
    parent = subprocess.Popen(  # noqa: ASYNC220 - it must be killed behind asyncio's back
        [sys.executable, "-c", _PARENT, str(tmp_path / "order"), *worker_command()],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    await proxy.held.wait()
    await asyncio.to_thread(standin.contents.part_seen.wait, 20)
    family = psutil.Process(parent.pid).children(recursive=True)
    assert len(family) == 2

    parent.kill()
    parent.communicate()

    gone = await asyncio.to_thread(psutil.wait_procs, family, timeout=60)
    assert gone[1] == []
    assert standin.contents.objects == {}
    assert standin.contents.uploads == {}


_PARENT = """
import subprocess, sys
worker = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
worker.stdin.write(open(sys.argv[1], "rb").read())
worker.stdin.flush()
worker.wait()
"""


async def test_a_worker_ends_at_its_own_deadline(
    workers: LocalWorkers, gnu_sshd: Sshd, proxy: Proxy, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    order = export_order(gnu_sshd.access(port=proxy.port), tree, store, keys, deadline_s=3.0)
    with pytest.raises(WorkerError, match="longer than 3 s"):
        await workers.export(order, on_progress=lambda _: None)
    assert left_in(store) == []


async def test_a_terminated_worker_says_that_it_was_interrupted(
    workers: LocalWorkers, gnu_sshd: Sshd, proxy: Proxy, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    export = await started(workers, export_order(gnu_sshd.access(port=proxy.port), tree, store, keys), proxy)
    next(child for child in workers_alive() if _is_worker(child)).send_signal(signal.SIGTERM)
    with pytest.raises(InterruptedRunError, match="SIGTERM"):
        await export
    assert left_in(store) == []


async def test_an_expired_certificate_is_refused_with_a_hint(
    workers: LocalWorkers, gnu_sshd: Sshd, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    order = export_order(gnu_sshd.access(validity="-2h:-1h"), tree, store, keys)
    with pytest.raises(SshError, match="Permission denied") as caught:
        await workers.export(order, on_progress=lambda _: None)
    assert "expired" in caught.value.next_step


async def test_a_missing_directory_is_named(
    workers: LocalWorkers, gnu_sshd: Sshd, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    with pytest.raises(SshError, match=r"no directory .*/nowhere"):
        await workers.export(export_order(gnu_sshd.access(), tree / "nowhere", store, keys), on_progress=lambda _: None)


async def test_an_unreadable_recipient_is_a_configuration_error_and_stores_nothing(
    workers: LocalWorkers, gnu_sshd: Sshd, tree: Path, store: StoreOrder, keys: Keys
) -> None:
    order = dataclasses.replace(export_order(gnu_sshd.access(), tree, store, keys), recipients=("age1nonsense",))
    with pytest.raises(ConfigError, match="recipient"):
        await workers.export(order, on_progress=lambda _: None)
    assert left_in(store) == []


async def test_no_failure_repeats_the_key_or_the_stores_secret(
    workers: LocalWorkers, gnu_sshd: Sshd, tree: Path, s3_store: StoreOrder, standin: S3Standin, keys: Keys
) -> None:
    standin.contents.refuse_after_parts = 0
    order = export_order(gnu_sshd.access(), tree, s3_store, keys)
    with pytest.raises(FlykeepError) as caught:
        await workers.export(order, on_progress=lambda _: None)
    said = f"{caught.value} {caught.value.next_step} {dict(caught.value.facts)} {order!r}"
    body = "".join(order.access.private_key.splitlines()[1:-1])
    for secret in ("standin-secret", body[:40], order.access.certificate):
        assert secret not in said


async def test_keys_stand_in_no_argument_no_environment_and_no_file(
    workers: LocalWorkers, gnu_sshd: Sshd, proxy: Proxy, tree: Path, s3_store: StoreOrder, keys: Keys
) -> None:
    order = export_order(gnu_sshd.access(port=proxy.port), tree, s3_store, keys)
    export = await started(workers, order, proxy)
    family = workers_alive()
    body = "".join(order.access.private_key.splitlines()[1:-1])
    secrets = (body[:40], order.access.certificate.split()[1][:60], "standin-secret", str(tree))
    for process in family:
        seen = " ".join(process.cmdline()) + " ".join(f"{name}={value}" for name, value in process.environ().items())
        assert [secret for secret in secrets if secret in seen] == []
    targets = {target for process in family for target in opened_by(process.pid)}
    assert [target for target in targets if "key" in target and not target.startswith("/memfd:")] == []
    assert any(target.startswith("/memfd:key") for target in targets)
    proxy.release()
    await export

"""Whatever dies under an export of the whole program: no manifest, a clean store, and the next export succeeds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flykeep.testing.flysim.faults import Fault, FaultKind
from tests.e2e.nursery import Household, Nursery, Verb, until
from tests.full import full
from tests.s3_standin import S3Standin

TARGET = "shop/shop_data"
MIB = 1 << 20
FOREIGN = "shop/shop_data_of_somebody_else/2026/x/data.tar.zst.age"


@pytest.fixture
async def filled(quiet: Household) -> Household:
    """A volume with more bytes than any buffer holds, and an object of somebody else beside its artifacts."""
    volume = quiet.sim.world.find_volume("shop", "shop_data")
    (volume.directory / "big").write_bytes(os.urandom(48 * MIB))
    plant(quiet)
    return quiet


def plant(home: Household) -> None:
    foreign = home.sim.directory / "store" / FOREIGN
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"not flykeep's")


def workers_of(verb: Verb) -> list[psutil.Process]:
    """Those that a living verb has started; other tests have workers too."""
    return [process for process in psutil.Process(verb.pid).children() if _is_worker(process)]


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "flykeep.worker" in process.cmdline()
    return False


async def streaming(home: Household, nursery: Nursery) -> tuple[Verb, psutil.Process]:
    """An export whose worker has stored bytes already."""
    verb = await home.begin(nursery, "export", TARGET)
    found: list[psutil.Process] = []

    def is_streaming() -> bool:
        found[:] = workers_of(verb)
        return bool(found) and bool(uploads(home))

    await until(is_streaming)
    found[0].suspend()
    return verb, found[0]


def uploads(home: Household) -> list[Path]:
    """What a worker has begun to write."""
    root = home.sim.directory / "store" / "shop" / "shop_data"
    return [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else []


async def assert_recovers(home: Household) -> None:
    assert not list((home.sim.directory / "store").rglob("manifest.json"))
    again = await home.verb("export", TARGET)
    assert again.code == 0, again
    reconciled = await home.verb("reconcile", "--apply", "--json")
    assert reconciled.code == 0, reconciled
    artifact = (await home.left()).artifacts[0]
    assert {key for key in home.stored() if key.startswith("shop/")} == {
        FOREIGN,
        artifact.manifest_key,
        artifact.manifest.index.key,
        *(part.key for part in artifact.manifest.data),
    }
    assert (home.sim.directory / "store" / FOREIGN).read_bytes() == b"not flykeep's"


@full("workers alone are tried for it too")
async def test_a_killed_worker_leaves_no_artifact(filled: Household, nurseries: tuple[Nursery, Nursery]) -> None:
    verb, worker = await streaming(filled, nurseries[0])
    worker.kill()
    ended = await verb.ended()
    assert ended.code == 1
    assert "worker ended with -9" in ended.stderr
    await assert_recovers(filled)


@full("workers alone are tried for it too")
async def test_a_killed_parent_takes_its_worker_along(filled: Household, nurseries: tuple[Nursery, Nursery]) -> None:
    verb, worker = await streaming(filled, nurseries[0])
    os.kill(verb.pid, signal.SIGKILL)
    assert (await verb.ended()).code == -signal.SIGKILL
    worker.resume()
    await until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    await assert_recovers(filled)


async def test_a_connection_cut_in_mid_stream_leaves_no_artifact(filled: Household) -> None:
    # Two sessions, the look and the tar, begin in either order; only the tar prints that much.
    filled.sim.faults.add(Fault(kind=FaultKind.SSH_CUT, action="ssh.exec", times=2, after_bytes=8 * MIB))
    ended = await filled.verb("export", TARGET, "--json")
    assert ended.code != 0
    assert ended.document["error"]["code"] in {"ssh.failed", "integrity.truncated", "ssh.error"}, ended
    assert filled.sim.faults.struck(FaultKind.SSH_CUT) == 2
    await assert_recovers(filled)


@pytest.fixture
def small_disk(quiet: Household) -> Iterator[Path]:
    """The store on a file system of 8 MiB."""
    store = quiet.sim.directory / "store"
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "flykeep-test", store], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a small file system takes root")
    yield store
    subprocess.run(["umount", "-l", store], check=True)


@pytest.mark.usefixtures("small_disk")
async def test_a_store_that_is_full_leaves_no_artifact(quiet: Household) -> None:
    big = quiet.sim.world.find_volume("shop", "shop_data").directory / "big"
    big.write_bytes(os.urandom(32 * MIB))
    plant(quiet)
    ended = await quiet.verb("export", TARGET, "--json")
    assert ended.code == 6, ended
    assert not [key for key in quiet.stored() if key.startswith("shop/shop_data/")]
    big.unlink()
    await assert_recovers(quiet)


@pytest.fixture
def bucket() -> Iterator[S3Standin]:
    server = S3Standin()
    server.start()
    yield server
    server.close()


@full("workers alone are tried for it too")
async def test_a_bucket_that_refuses_in_mid_stream_holds_no_artifact(filled: Household, bucket: S3Standin) -> None:
    path = str(filled.sim.directory / "store")
    filled.kit.edit(
        f'type = "directory"\npath = "{path}"\nvisible_to_workers = true',
        f'type = "s3"\nbucket = "b"\nendpoint = "{bucket.endpoint}"\naccess_key_id_secret = "S3_ID"\n'
        'secret_access_key_secret = "S3_KEY"',
    )
    filled.kit.extra.update(S3_ID="AKTEST", S3_KEY="planted-key")
    bucket.contents.refuse_after_parts = 1
    ended = await filled.verb("export", TARGET, "--json")
    assert ended.code == 6, ended
    assert not bucket.contents.uploads
    assert not [key for key in bucket.contents.objects if "shop" in key]
    bucket.contents.refuse_after_parts = None
    again = await filled.verb("export", TARGET, "--json")
    assert again.code == 0, again
    assert sum(key.endswith("manifest.json") for key in bucket.contents.objects) == 1


async def test_a_store_that_fails_does_not_fail_the_other_and_is_named_until_it_has_its_copy(quiet: Household) -> None:
    shelf = quiet.sim.directory / "shelf"
    shelf.write_text("in the way of the folder")
    with quiet.kit.config.open("a") as config:
        config.write(f'\n[stores.shelf]\ntype = "directory"\npath = "{shelf}"\n')
        config.write('\n[[policies.standard.copies]]\nstore = "shelf"\n')
    ended = await quiet.verb("export", TARGET, "--json")
    assert ended.code == 6, ended
    assert (ended.document["error"]["facts"]["store"], ended.document["error"]["facts"]["committed"]) == (
        "shelf",
        "offsite",
    )
    assert [artifact.store for artifact in (await quiet.left()).artifacts] == ["offsite"]

    assert ("export.copy_missing", "shelf") in await lacking(quiet)
    assert [one.finding.store for one in (await quiet.left()).incidents if one.finding.store] == ["shelf"]

    shelf.unlink()
    again = await quiet.verb("export", TARGET, "--json")
    assert again.code == 0, again
    assert "export.copy_missing" not in {code for code, _ in await lacking(quiet)}
    assert [one.is_open for one in (await quiet.left()).incidents if one.finding.store] == [False]


async def lacking(home: Household) -> set[tuple[str, str | None]]:
    """Code and store of what a check finds wrong with the target, incidents recorded."""
    ended = await home.verb("check", "--notify", "--json")
    verdicts = {one["target"]: one for one in ended.document["targets"]}
    return {(found["code"], found["store"]) for found in verdicts[TARGET]["findings"]}

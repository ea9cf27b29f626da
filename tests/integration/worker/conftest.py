"""A machine with GNU tar, one with busybox, workers and stores for the byte path."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.adapters.system import SystemClock
from flykeep.ports.store import StoreOrder, StoreType
from tests.full import full
from tests.integration.worker.exporting import Keys
from tests.s3_standin import S3Standin
from tests.sshd import Sshd, busybox_path, running_sshd

_ROOMY_BYTES = 6 << 30


@pytest.fixture(scope="session")
def gnu_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as sshd:
        yield sshd


@pytest.fixture(scope="session")
def busybox_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    home = tmp_path_factory.mktemp("sshd-busybox")
    with running_sshd(home, path=busybox_path(home / "bin")) as sshd:
        yield sshd


@pytest.fixture(params=["gnu", pytest.param("busybox", marks=full("the other tar, beside the tests of its own"))])
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sshd(flavour: str, request: pytest.FixtureRequest) -> Sshd:
    """A machine whose tar is of this flavour."""
    found: Sshd = request.getfixturevalue(f"{flavour}_sshd")
    return found


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def workers() -> LocalWorkers:
    return LocalWorkers(clock=SystemClock(), grace=timedelta(seconds=40))


@pytest.fixture
def store(tmp_path: Path) -> StoreOrder:
    return StoreOrder(name="shelf", type=StoreType.DIRECTORY, path=str(tmp_path / "store"))


@pytest.fixture
def standin() -> Iterator[S3Standin]:
    server = S3Standin()
    server.start()
    yield server
    server.close()


@pytest.fixture
def s3_store(standin: S3Standin) -> StoreOrder:
    return StoreOrder(
        name="bucket",
        type=StoreType.S3,
        bucket="b",
        endpoint=standin.endpoint,
        access_key_id="AKSTANDIN",
        secret_access_key="standin-secret",
    )


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """A directory for gigabytes: in memory where there is plenty, for a disk takes minutes over it."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < _ROOMY_BYTES:
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(prefix="flykeep-test-", dir=memory))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "volume"
    root.mkdir()
    return root

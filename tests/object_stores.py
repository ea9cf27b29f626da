"""Real object stores on 127.0.0.1 for tests: moto's server (semantics) and `rclone serve s3` (checks signatures).

One of each serves all tests of a process. Each `*_order` fixture is a fresh bucket.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from flykeep.ports.store import StoreOrder, StoreType

ACCESS_KEY = "AKTESTPLANTEDACCESSKEY"  # rclone refuses short ones
SECRET_KEY = "planted-store-secret-which-must-never-appear"
_BUCKETS = itertools.count(1)


@dataclass(frozen=True)
class S3Server:
    endpoint: str

    def client(self) -> Any:
        """An independent client, to look at what flykeep left on the server."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def new_bucket(self) -> str:
        bucket = f"bucket-{os.getpid()}-{next(_BUCKETS)}"
        self.client().create_bucket(Bucket=bucket)
        return bucket

    def new_locking_bucket(self, *, days: int = 1) -> str:
        """A bucket whose objects are locked for some days by its default retention."""
        client, bucket = self.client(), f"locking-{os.getpid()}-{next(_BUCKETS)}"
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        retention = {"Mode": "GOVERNANCE", "Days": days}
        rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
        client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=rule)
        return bucket

    def order(self, *, name: str, prefix: str = "fly") -> StoreOrder:
        return StoreOrder(
            name=name,
            type=StoreType.S3,
            prefix=prefix,
            bucket=self.new_bucket(),
            endpoint=self.endpoint,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], *, port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL) as child:
        try:
            for _ in range(1200):
                if child.poll() is not None:
                    pytest.fail(f"{command[0]} ended: {log.read_text()[-2000:]}")
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                except OSError:
                    time.sleep(0.05)
                else:
                    break
            else:
                pytest.fail(f"{command[0]} did not answer: {log.read_text()[-2000:]}")
            yield
        finally:
            child.kill()


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    with running([sys.executable, "-m", "tests.moto_like_amazon", str(port)], port=port, log=log):
        yield S3Server(f"http://127.0.0.1:{port}")


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    port = free_port()
    folder = tmp_path_factory.mktemp("rclone")
    (folder / "buckets").mkdir()
    access = ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", "/dev/null"]
    command = [rclone_binary(), "serve", "s3", str(folder / "buckets"), *access, "--vfs-cache-mode", "off"]
    with running(command, port=port, log=folder / "log"):
        yield S3Server(f"http://127.0.0.1:{port}")


def rclone_binary() -> str:
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        pytest.fail("rclone is missing: `make setup` installs it")
    return found


@pytest.fixture
def moto_order(moto_server: S3Server) -> StoreOrder:
    return moto_server.order(name="moto")


@pytest.fixture
def rclone_order(rclone_server: S3Server) -> StoreOrder:
    return rclone_server.order(name="rclone")


@pytest.fixture
def directory_order(tmp_path: Path) -> StoreOrder:
    return StoreOrder(name="directory", type=StoreType.DIRECTORY, path=str(tmp_path / "store"), prefix="fly/backups")

"""What every side of the benchmark shares: two trees, an SSH server, an S3 server, a key pair."""

# ruff: noqa: INP001, TID251 - part of a program of its own; its randomness is seeded
from __future__ import annotations

import contextlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyrage

from benchmarks.watching import MIB
from flykeep.adapters.ssh.key_files import key_files
from flykeep.ports.fly import SshAccess
from tests.sshd import Sshd, running_sshd

ACCESS_KEY, SECRET_KEY = "AKBENCHMARK00000000", "benchmark-secret"
BUCKET = "bench"
CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com"
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Data:
    """One tree on the machine. `tar_bytes` is what a whole tar of it takes."""

    name: str
    path: Path
    tar_bytes: int


@dataclass(frozen=True)
class World:
    """`home` is a private directory; whatever a side writes goes below it."""

    home: Path
    sshd: Sshd
    endpoint: str
    identity: str
    recipient: str
    index_recipient: str
    mixed: Data
    incompressible: Data

    def access(self, *, port: int | None = None) -> SshAccess:
        return self.sshd.access(port=port)

    def emptied(self, name: str) -> Path:
        """A new directory; what an earlier run left under its name is gone."""
        path = self.home / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path


@contextlib.contextmanager
def running_world(home: Path, *, mixed_mib: int, incompressible_mib: int) -> Iterator[World]:
    """Make the trees and start the servers."""
    trees = home / "volume"
    _make_mixed(trees / "mixed", mixed_mib * MIB)
    _make_incompressible(trees / "incompressible", incompressible_mib)
    identity = pyrage.x25519.Identity.generate()
    with running_sshd(home / "sshd") as sshd, _s3() as endpoint:
        yield World(
            home=home,
            sshd=sshd,
            endpoint=endpoint,
            identity=str(identity),
            recipient=str(identity.to_public()),
            index_recipient=str(pyrage.x25519.Identity.generate().to_public()),
            mixed=_data("mixed", trees / "mixed"),
            incompressible=_data("incompressible", trees / "incompressible"),
        )


@contextlib.contextmanager
def ssh_command(access: SshAccess) -> Iterator[list[str]]:
    """`ssh` up to the host, by AES-GCM as flykeep does it."""
    with key_files(access) as files:
        yield [
            "ssh", "-F", "none", "-T", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", f"Ciphers={CIPHERS}",
            "-o", f"IdentityFile={files.private_key}", "-o", f"CertificateFile={files.certificate}",
            "-p", str(access.port), "-l", access.user, access.host,
        ]  # fmt: skip


def _data(name: str, path: Path) -> Data:
    with subprocess.Popen(["tar", "cf", "-", "-C", str(path), "."], stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        total = sum(len(piece) for piece in iter(lambda: tar.stdout.read(MIB), b""))  # type: ignore[union-attr]
    return Data(name, path, total)


@contextlib.contextmanager
def _s3() -> Iterator[str]:
    """A small S3 server in a process of its own, over plain HTTP."""
    program = [sys.executable, str(_ROOT / "tests" / "s3_standin.py")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().decode().strip()
        finally:
            server.kill()


def _make_incompressible(root: Path, size_mib: int) -> None:
    root.mkdir(parents=True)
    chance = random.Random(20261125)  # noqa: S311 - no secret, only the same tree every time
    with (root / "media.bin").open("wb") as file:
        for _ in range(size_mib):
            file.write(chance.randbytes(MIB))


def _make_mixed(root: Path, size_bytes: int) -> None:
    """Chat logs and configuration, a database, and data that does not compress: 54, 12 and 34 per cent."""
    chance = random.Random(20261122)  # noqa: S311 - no secret, only the same tree every time
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(4000)]
    text_bytes, made = size_bytes * 54 // 100, 0
    while made < text_bytes:
        folder = root / "agents" / f"{made % 37:02}" / "sessions"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"id": chance.getrandbits(64), "text": " ".join(chance.choices(words, k=30))})
            for _ in range(chance.randint(20, 400))
        ]
        content = "\n".join(lines)
        (folder / f"{made}.jsonl").write_text(content)
        made += len(content)
    with contextlib.closing(sqlite3.connect(root / "state.db")) as database, database:
        database.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, kind TEXT, body BLOB)")
        for _ in range(size_bytes * 12 // 100 // 1000):
            body = chance.randbytes(300) + " ".join(chance.choices(words, k=90)).encode()
            database.execute("INSERT INTO event (kind, body) VALUES (?, ?)", (chance.choice(words), body))
    with (root / "media.bin").open("wb") as file:
        for _ in range(size_bytes * 34 // 100 // MIB):
            file.write(chance.randbytes(MIB))

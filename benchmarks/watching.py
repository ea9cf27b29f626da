"""What one run of one side cost: time, CPU time of the client's processes, memory at the peak."""

# ruff: noqa: INP001, TID251 - part of a program of its own, which measures time
from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 1 << 20
_SAMPLE_EVERY_S = 0.1


@dataclass(frozen=True)
class Figures:
    """Memory is the proportional share (PSS) of the whole process tree at its peak."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def median(figures: list[Figures], name: str) -> float:
    return statistics.median(float(getattr(one, name)) for one in figures)


def ratios(ours: list[Figures], theirs: list[Figures]) -> dict[str, float]:
    """Throughput above 1 and CPU below 1 are in flykeep's favour. Megabytes are millions of bytes."""
    return {
        "throughput_ratio": round(median(theirs, "seconds") / median(ours, "seconds"), 3),
        "cpu_ratio": round(median(ours, "cpu_seconds") / median(theirs, "cpu_seconds"), 3),
        "peak_memory_mb": round(max(one.peak_bytes for one in ours) / 1e6, 1),
    }


class Watch:
    """Samples the memory of a process tree while it runs. Servers and what runs below them do not count."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._peak = 0
        self._is_over = threading.Event()
        self._me = psutil.Process()
        self._not_mine = {child.pid for child in self._me.children(recursive=True)}
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def figures(self, child: subprocess.Popen[bytes]) -> Figures:
        """Wait for the child; its CPU time includes the descendants it waited for."""
        _, status, used = os.wait4(child.pid, 0)
        seconds = self.elapsed_s()
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"a run ended with {child.returncode}")
        return Figures(seconds, used.ru_utime + used.ru_stime, self._peak)

    def close(self) -> None:
        self._is_over.set()
        self._sampler.join()

    def _sample(self) -> None:
        while not self._is_over.wait(_SAMPLE_EVERY_S):
            total = 0
            with contextlib.suppress(psutil.Error):
                for child in self._me.children(recursive=True):
                    if child.pid not in self._not_mine and not _is_server(child):
                        total += _pss_bytes(child.pid)
            self._peak = max(self._peak, total)


@contextlib.contextmanager
def watching() -> Iterator[Watch]:
    watch = Watch()
    try:
        yield watch
    finally:
        watch.close()


def _is_server(process: psutil.Process) -> bool:
    """Sessions of the SSH server, and the remote tar below them."""
    return any("sshd" in above.name() for above in (process, *process.parents()))


def _pss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0

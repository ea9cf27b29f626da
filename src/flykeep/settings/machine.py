"""What a setting means on the machine this process runs on."""

from __future__ import annotations

import os

from flykeep.settings.values import Compression, WorkerSettings

_FRUGAL_BELOW_BYTES = 640 << 20
_MOST_THREADS = 2


def compression_threads(worker: WorkerSettings) -> int:
    """0 on one core or a machine of 512 MB: threads there cost memory and win nothing."""
    if worker.compression is Compression.FRUGAL:
        return 0
    cores = len(os.sched_getaffinity(0))
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if worker.compression is Compression.AUTO and (cores < 2 or memory_bytes < _FRUGAL_BELOW_BYTES):
        return 0
    return min(cores, _MOST_THREADS)

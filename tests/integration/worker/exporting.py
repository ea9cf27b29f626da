"""Orders for exports from a directory behind OpenSSH's sshd, and the way back with age, zstd and tar."""

from __future__ import annotations

import asyncio
import io
import itertools
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pyrage

from flykeep.adapters.system import SystemClock
from flykeep.domain.artifact import IndexEntry
from flykeep.domain.ids import ExportId
from flykeep.ports.fly import SshAccess
from flykeep.ports.store import StoreOrder
from flykeep.ports.worker import CompressionOrder, ExportOrder, ExportResult, IndexOrder, VerifyOrder
from flykeep.worker.channel import Flow
from flykeep.worker.export import Export
from flykeep.worker.report import Reporter
from flykeep.worker.verify import read_index

_IDS = itertools.count(1)
MIB = 1 << 20


@dataclass
class Keys:
    operator: pyrage.x25519.Identity = field(default_factory=pyrage.x25519.Identity.generate)
    index: pyrage.x25519.Identity = field(default_factory=pyrage.x25519.Identity.generate)


def export_order(
    access: SshAccess | None,
    directory: Path,
    store: StoreOrder,
    keys: Keys | None,
    *,
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    threads: int = 0,
    frame_bytes: int = 64 * MIB,
    deadline_s: float = 110.0,
    stall_timeout_s: float = 60.0,
) -> ExportOrder:
    """`keys` None asks for an export without encryption, `access` None for one of a tree that is mounted here."""
    export_id = f"X{next(_IDS):05}"
    return ExportOrder(
        export_id=ExportId(export_id),
        key_prefix=f"app/data/2026/{export_id}",
        access=access,
        directory=str(directory),
        include=include,
        exclude=exclude,
        store=store,
        recipients=(str(keys.operator.to_public()),) if keys else (),
        index_recipient=str((keys or Keys()).index.to_public()),
        compression=CompressionOrder(threads=threads, frame_bytes=frame_bytes),
        expected_bytes=None,
        deadline_s=deadline_s,
        stall_timeout_s=stall_timeout_s,
    )


def verify_order(order: ExportOrder, result: ExportResult, keys: Keys | None, *, level: str) -> VerifyOrder:
    return VerifyOrder(
        store=order.store,
        objects=result.data,
        index=result.index,
        level="contents" if level == "contents" else "bytes",
        identity=str(keys.operator) if keys else None,
        index_identity=str(keys.index) if keys else None,
        is_encrypted=keys is not None,
        totals=result.totals,
        deadline_s=110.0,
    )


def index_order(order: ExportOrder, result: ExportResult, keys: Keys, *, contains: str | None = None) -> IndexOrder:
    return IndexOrder(
        store=order.store,
        index=result.index,
        identity=str(keys.index),
        is_encrypted=True,
        contains=contains,
        deadline_s=60.0,
    )


async def result_here(order: ExportOrder) -> ExportResult:
    """An export within this process: what a worker does, without its start."""
    export = Export(order, flow=Flow(), reporter=Reporter(io.BytesIO(), SystemClock()))
    return await asyncio.to_thread(export.run)


async def exported_here(order: ExportOrder, keys: Keys) -> tuple[ExportResult, list[IndexEntry]]:
    """An export within this process, and the entries of its index."""
    result = await result_here(order)
    sealed = (Path(str(order.store.path)) / result.index.key).read_bytes()
    _, entries = read_index(iter([pyrage.decrypt(sealed, [keys.index])]))
    return result, list(entries)


def restore_by_hand(objects: list[Path], keys: Keys, into: Path) -> None:
    """`age -d | zstd -d | tar xp`, as RESTORE.md tells a person."""
    into.mkdir(parents=True)
    identity = into.parent / "identity.txt"
    identity.write_text(str(keys.operator))
    names = " ".join(str(path) for path in objects)
    script = f"set -o pipefail; cat {names} | age -d -i {identity} | zstd -dc | tar xp --numeric-owner -C {into}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def worker_command() -> tuple[str, ...]:
    return (sys.executable, "-m", "flykeep.worker")

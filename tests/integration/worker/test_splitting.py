"""Data too large for one object of the store."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

from flykeep.adapters.launchers.local import LocalWorkers
from flykeep.adapters.system import SystemClock
from flykeep.ports.store import StoreOrder
from flykeep.worker.channel import Flow
from flykeep.worker.export import Export
from flykeep.worker.report import Reporter
from tests.integration.worker.exporting import MIB, Keys, export_order, restore_by_hand, verify_order
from tests.integration.worker.trees import facts
from tests.sshd import Sshd


async def test_data_beyond_one_upload_is_split_into_numbered_objects_that_cat_joins(
    gnu_sshd: Sshd, workers: LocalWorkers, store: StoreOrder, keys: Keys, tree: Path, tmp_path: Path
) -> None:
    (tree / "big").write_bytes(os.urandom(37 * MIB))
    order = export_order(gnu_sshd.access(), tree, store, keys)
    reporter = Reporter(io.BytesIO(), SystemClock())

    export = Export(order, flow=Flow(), reporter=reporter, part_limit=1)  # one part of 16 MiB
    result = await asyncio.to_thread(export.run)

    names = [part.key.rsplit("/", 1)[1] for part in result.data]
    assert names == [f"data.tar.zst.age.{number:05}" for number in (1, 2, 3)]
    assert [part.size_bytes for part in result.data[:2]] == [16 * MIB, 16 * MIB]
    restore_by_hand([Path(str(store.path)) / part.key for part in result.data], keys, tmp_path / "restored")
    assert facts(tmp_path / "restored") == facts(tree)
    await workers.verify(verify_order(order, result, keys, level="contents"), on_progress=lambda _: None)

"""Orders for imports into a directory behind OpenSSH's sshd, executed within this process."""

from __future__ import annotations

import asyncio
import io
import itertools
from dataclasses import dataclass, replace
from pathlib import Path

from flykeep.adapters.system import SystemClock
from flykeep.ports.importing import (
    ArtifactSource,
    FileSource,
    ImportOrder,
    ImportResult,
    Placed,
    PlaceOrder,
    Placing,
)
from flykeep.ports.worker import ExportOrder, ExportResult
from flykeep.worker.channel import Flow, StoppedError
from flykeep.worker.import_ import Import, place
from flykeep.worker.report import Reporter
from tests.integration.worker.exporting import Keys
from tests.integration.worker.trees import Fact, facts
from tests.sshd import Sshd

_RUNS = itertools.count(1)


def artifact_source(order: ExportOrder, result: ExportResult, keys: Keys | None) -> ArtifactSource:
    return ArtifactSource(
        store=order.store,
        objects=result.data,
        index=result.index,
        identity=str(keys.operator) if keys else None,
        index_identity=str(keys.index) if keys else None,
        is_encrypted=keys is not None,
        totals=result.totals,
    )


@dataclass
class Volume:
    """A directory that plays a machine's volume, and imports into it."""

    directory: Path
    sshd: Sshd

    def order(
        self,
        source: ArtifactSource | FileSource,
        *,
        paths: tuple[str, ...] = (),
        port: int | None = None,
        stall_timeout_s: float = 60.0,
    ) -> ImportOrder:
        return ImportOrder(
            run_id=f"R{next(_RUNS):05}",
            access=self.sshd.access(port=port),
            directory=str(self.directory),
            source=source,
            paths=paths,
            deadline_s=110.0,
            stall_timeout_s=stall_timeout_s,
        )

    def place_order(self, run_id: str, placing: Placing) -> PlaceOrder:
        return PlaceOrder(run_id, self.sshd.access(), str(self.directory), placing, deadline_s=60.0)

    async def stage(self, order: ImportOrder) -> ImportResult:
        """Raises what failed first, as a worker reports it."""
        flow = Flow()
        work = Import(order, flow=flow, reporter=Reporter(io.BytesIO(), SystemClock()))
        try:
            return await asyncio.to_thread(work.run)
        except StoppedError as error:
            raise flow.failure or error from error

    async def place(self, run_id: str, placing: Placing) -> Placed:
        order = self.place_order(run_id, placing)
        return (await asyncio.to_thread(lambda: place(order, flow=Flow()))).placed

    async def take_in(self, source: ArtifactSource | FileSource, *, paths: tuple[str, ...] = ()) -> str:
        """Stage and move; the run id."""
        order = self.order(source, paths=paths)
        await self.stage(order)
        assert await self.place(order.run_id, Placing.MOVE) is Placed.MOVED
        return order.run_id

    def content(self) -> dict[bytes, Fact]:
        """What is compared of the volume."""
        return compared(self.directory)

    def own(self) -> list[str]:
        """flykeep's own folders."""
        return sorted(path.name for path in self.directory.iterdir() if path.name.startswith(".flykeep-"))


def compared(tree: Path) -> dict[bytes, Fact]:
    """All but flykeep's own folders, the root, whose time they change, and the times of links, which busybox drops."""
    return {
        path: replace(fact, mtime_s=0) if fact.kind == "l" else fact
        for path, fact in facts(tree).items()
        if not path.startswith(b".flykeep-") and path != b"."
    }

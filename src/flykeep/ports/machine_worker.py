"""Orders for a worker that stands in a machine of its own and waits for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flykeep.domain.fly import Machine
from flykeep.ports.worker import DrillOrder, DrillResult, ExportOrder, ExportResult, Progress


class MachineWorkers(Protocol):
    """Hands one order to a standing worker and follows it. Cancelling leaves the machine: its maker removes it.

    Errors: what the worker reported, as the class of its code; WorkerError when it fell silent or its machine ended.
    """

    def command(self, *, deadline_s: float) -> tuple[str, ...]:
        """What such a machine runs as its main process."""
        ...

    async def export(
        self, machine: Machine, order: ExportOrder, *, on_progress: Callable[[Progress], None]
    ) -> ExportResult: ...

    async def drill(
        self, machine: Machine, order: DrillOrder, *, on_progress: Callable[[Progress], None]
    ) -> DrillResult: ...

"""Move what an import staged: into place, back, or away. Every step can be taken again after an interruption."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import RefusalError, SshError, WorkerError
from flykeep.domain.fly import Machine
from flykeep.domain.ids import RunId
from flykeep.domain.imports import ImportPhase, ImportRecord
from flykeep.jobs.context import Journal
from flykeep.jobs.health import Condition, Health
from flykeep.jobs.holding import held, renewed
from flykeep.jobs.import_log import ImportLog
from flykeep.jobs.restarting import Restarter
from flykeep.ports.fly import AccessIssuer, MachineController
from flykeep.ports.importing import Importers, Placed, PlaceOrder, Placing


@dataclass(frozen=True, slots=True)
class Location:
    """Where a target's files are now."""

    machine: Machine
    directory: str


@dataclass(frozen=True, slots=True)
class ImportMover:
    """Holds the machine's lease while files change, so that no deploy and no second flykeep comes between."""

    control: MachineController
    access: AccessIssuer
    importers: Importers
    log: ImportLog
    restarter: Restarter
    deadline: timedelta

    async def go_on(self, at: Location, record: ImportRecord, *, journal: Journal | None = None) -> Condition | None:
        """Bring an import that is half done to the end of its phase; a condition where files changed."""
        if record.phase is ImportPhase.STAGING:
            await self.discard(at, record.run_id, journal=journal)
            return None
        if record.phase is ImportPhase.DROPPING:
            await self.drop(at, record.run_id, journal=journal)
            return None
        return await self.change(at, record.run_id, record.phase, is_restarting=record.is_restarting, journal=journal)

    async def change(
        self,
        at: Location,
        run_id: RunId,
        phase: ImportPhase,
        *,
        is_restarting: bool,
        journal: Journal | None = None,
    ) -> Condition:
        """Replace the files (MOVING) or bring the old ones back (UNDOING), then restart.

        Raises BusyError, before anything changes, where somebody holds the machine. After an SshError or WorkerError
        some files may have changed and others not: `go_on` finishes.
        """
        placing, done = (
            (Placing.MOVE, ImportPhase.MOVED) if phase is ImportPhase.MOVING else (Placing.UNDO, ImportPhase.UNDONE)
        )
        async with held(self.control, at.machine, reason="flykeep import") as lease:
            await self.log.note(run_id, phase, journal=journal, restart=is_restarting)
            try:
                async with renewed(self.control, lease, self.log.clock):
                    placed = await self._place(at, run_id, placing)
            except (SshError, WorkerError) as error:
                error.next_step = (
                    f"Some files may have changed and others not. `flykeep reconcile --apply` goes on, "
                    f"`flykeep import undo {run_id}` goes back."
                )
                raise
            if placed is Placed.NOTHING:
                await self.log.note(run_id, ImportPhase.OVER, journal=journal)
                raise RefusalError(
                    f"nothing of import {run_id} is left on the volume: somebody removed its folders",
                    hint="What it replaced cannot be brought back by it: use a snapshot or another artifact.",
                    facts={"directory": at.directory},
                )
            await self.log.note(run_id, done, journal=journal)
            return await self.restarter.restart(lease) if is_restarting else Condition(Health.UNTOUCHED)

    async def drop(self, at: Location, run_id: RunId, *, journal: Journal | None = None) -> None:
        """Remove for good what is kept beside the data."""
        await self.log.note(run_id, ImportPhase.DROPPING, journal=journal)
        await self._place(at, run_id, Placing.DROP)
        await self.log.note(run_id, ImportPhase.OVER, journal=journal)

    async def discard(self, at: Location, run_id: RunId, *, journal: Journal | None = None) -> None:
        """Remove what was staged; nothing has been moved."""
        placed = await self._place(at, run_id, Placing.DISCARD)
        over = ImportPhase.OVER if placed is Placed.NOTHING else ImportPhase.MOVING
        await self.log.note(run_id, over, journal=journal)

    async def _place(self, at: Location, run_id: RunId, placing: Placing) -> Placed:
        access = await self.access.access(at.machine)
        order = PlaceOrder(run_id, access, at.directory, placing, self.deadline.total_seconds())
        return (await self.importers.place(order)).placed

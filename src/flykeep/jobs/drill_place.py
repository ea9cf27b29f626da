"""Where a drill is carried out: on a temporary machine, or in a directory of this one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flykeep.domain.errors import RefusalError
from flykeep.domain.proof import Timing
from flykeep.domain.scratch import ScratchPlan
from flykeep.jobs.context import TargetWork
from flykeep.jobs.drill_choice import Rehearsal
from flykeep.jobs.scratch import Errand, Scratch
from flykeep.jobs.scratch_steps import scratch_intents
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.drill_room import DrillRooms
from flykeep.ports.machine_worker import MachineWorkers
from flykeep.ports.worker import DrillResult, Workers

ROOM = "drill room"
_MARGIN_S = 900.0  # for starting, handing in and the last report


@dataclass(frozen=True, slots=True)
class DrillPlace:
    """`scratch` None means that no temporary machine can be made."""

    catalog: Catalog
    clock: Clock
    scratch: Scratch | None
    machine_workers: MachineWorkers
    rooms: DrillRooms
    workers: Workers

    async def carry_out(self, work: TargetWork, rehearsal: Rehearsal) -> DrillResult:
        """What the worker found, its timings after those of the place; nothing of it is left afterwards."""
        if rehearsal.scratch is None:
            return await self._here(work, rehearsal)
        return await self._on_a_machine(work, rehearsal, rehearsal.scratch)

    async def _on_a_machine(self, work: TargetWork, rehearsal: Rehearsal, plan: ScratchPlan) -> DrillResult:
        assert self.scratch is not None  # the plan needs it
        order = rehearsal.order
        errand = Errand(order.directory, self.machine_workers.command(deadline_s=order.deadline_s + _MARGIN_S))
        async with self.scratch.worker(work.journal, plan, errand) as machine:
            timings = await self._made(work)
            await work.journal.step("worker started", machine=machine.id, app=machine.app)
            mounted = next((mount.path for mount in machine.mounts if mount.path), order.directory)
            here = replace(order, directory=mounted)
            result = await self.machine_workers.drill(machine, here, on_progress=work.on_progress)
        return replace(result, timings=(*timings, *result.timings))

    async def _made(self, work: TargetWork) -> tuple[Timing, ...]:
        """How long the volume and the machine took that are there now; refused attempts before them do not count."""
        ready_at = self.clock.now()
        async with self.catalog.transaction() as tx:
            intents = scratch_intents(await tx.steps(work.run.id))
        volume_at = max(one.at for one in intents if one.kind == "volume")
        machine_at = max(one.at for one in intents if one.kind == "machine")
        return (
            Timing("volume", round((machine_at - volume_at).total_seconds() * 1000), is_restore=True),
            Timing("machine", round((ready_at - machine_at).total_seconds() * 1000), is_restore=True),
        )

    async def _here(self, work: TargetWork, rehearsal: Rehearsal) -> DrillResult:
        assert rehearsal.restored is not None  # only artifacts are restored here
        totals = rehearsal.restored.manifest.totals
        free_bytes = await self.rooms.free_bytes()
        if totals.tar_bytes > free_bytes:
            raise RefusalError(
                f"the artifact holds {totals.tar_bytes} bytes, and {free_bytes} are free here",
                hint="Give [drill] directory a folder with more room, or set [worker] image.",
            )
        await work.journal.step(ROOM)
        async with self.rooms.room(work.run.id) as directory:
            order = replace(rehearsal.order, directory=directory)
            return await self.workers.drill(order, on_progress=work.on_progress)

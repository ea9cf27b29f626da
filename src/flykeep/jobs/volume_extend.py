"""Give a volume more room, and let its machine see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.documents import to_json
from flykeep.domain.errors import BusyError, FlyUnavailableError, FlyUnexpectedAnswerError, UsageError
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.ids import VolumeId
from flykeep.domain.run import Outcome, RunState
from flykeep.domain.volume_care import ExtensionPlan, plan_extension
from flykeep.jobs.context import TargetWork
from flykeep.jobs.health import Condition, Health
from flykeep.jobs.holding import held
from flykeep.jobs.restarting import Restarter
from flykeep.ports.clock import Clock
from flykeep.ports.fly import InventoryReader, MachineController
from flykeep.ports.volumes import VolumeKeeper

_LOOKS = 3
_LOOK_EVERY = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class ExtendResult:
    """`health` is None where no restart was needed or asked for; `restart_missing` says that one is still needed."""

    act: str
    volume_id: VolumeId
    from_gb: int
    to_gb: int
    monthly_cents: int
    needs_restart: bool
    restart_missing: bool
    health: str | None
    detail: str
    machine_id: str | None


@dataclass(frozen=True, slots=True)
class VolumeExtender:
    """The size is asked for once. Whether the machine must restart is Fly's word, or assumed where that was lost."""

    fly: InventoryReader
    keeper: VolumeKeeper
    control: MachineController
    restarter: Restarter
    clock: Clock

    async def run(self, work: TargetWork) -> Outcome:
        request = work.run.request
        if request.size_gb is None:
            raise UsageError("no size was given", hint="Give --size N or --size +N.")
        volume = await self.fly.volume(work.lineage.app, work.lineage.volume_id)
        plan = plan_extension(volume, request.size_gb, is_restarting=request.is_restarting)
        needs_restart = await self._grow(work, volume, plan) if plan.is_growing else True
        machine = await self._running_machine(volume) if needs_restart else None
        condition = await self._restart(work, machine) if machine and request.is_restarting else None
        return _outcome(volume, plan, machine, condition, needs_restart=needs_restart)

    async def _grow(self, work: TargetWork, volume: Volume, plan: ExtensionPlan) -> bool:
        """Whether its machine must be restarted."""
        await work.journal.step("extend volume", volume=volume.id, from_gb=plan.from_gb, to_gb=plan.to_gb)
        try:
            extension = await self.keeper.extend_volume(volume.app, volume.id, size_gb=plan.to_gb)
        except (FlyUnavailableError, FlyUnexpectedAnswerError) as error:
            await work.journal.step("outcome unknown, look", reason=error.message)
            if not await self._has_grown(volume, plan.to_gb):
                raise
            return True
        return extension.needs_restart

    async def _has_grown(self, volume: Volume, to_gb: int) -> bool:
        for _ in range(_LOOKS):
            if (await self.fly.volume(volume.app, volume.id)).size_gb >= to_gb:
                return True
            await self.clock.sleep(_LOOK_EVERY)
        return False

    async def _running_machine(self, volume: Volume) -> Machine | None:
        """The machine that has the volume mounted now; one that is stopped will see the room when it starts."""
        if volume.attached_machine_id is None:
            return None
        machine = await self.fly.machine(volume.app, volume.attached_machine_id)
        return machine if machine.is_started else None

    async def _restart(self, work: TargetWork, machine: Machine) -> Condition:
        """The volume has grown whatever becomes of this."""
        try:
            async with held(self.control, machine, reason="flykeep volume extend") as lease:
                await work.journal.step("restart machine", machine=machine.id)
                return await self.restarter.restart(lease)
        except BusyError as error:
            return Condition(Health.NOT_RESTARTED, error.message)


def _outcome(
    volume: Volume, plan: ExtensionPlan, machine: Machine | None, condition: Condition | None, *, needs_restart: bool
) -> Outcome:
    is_missing = machine is not None and (condition is None or condition.health is Health.NOT_RESTARTED)
    result = ExtendResult(
        act="extend",
        volume_id=volume.id,
        from_gb=plan.from_gb,
        to_gb=plan.to_gb,
        monthly_cents=plan.monthly_cents,
        needs_restart=needs_restart,
        restart_missing=is_missing,
        health=condition.health.value if condition else None,
        detail=condition.detail if condition else "",
        machine_id=machine.id if machine else None,
    )
    is_good = not is_missing and (condition is None or condition.health.is_good)
    return Outcome(RunState.SUCCEEDED if is_good else RunState.DEGRADED, to_json(result))

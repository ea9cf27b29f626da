"""Take the application from the old volume to the new one, and see that it is well there.

The old machine is stopped before the new one may start, and deploys see the new machine before they lose sight of the
old one: both are held then, so that no deploy meets two machines, or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import FlyUnavailableError, RefusalError
from flykeep.domain.fly import HostStatus, Machine
from flykeep.domain.ids import AppName, MachineId
from flykeep.domain.restore_config import (
    PLATFORM_KEY,
    RESTORE_KEY,
    fence,
    is_fenced,
    standby_moved,
    standbys_of,
)
from flykeep.domain.restore_phases import FENCE_DUE, FENCED, FENCING, RestorePhase, RestoreRecord
from flykeep.jobs.health import HEALTH_LIMIT, Condition, condition_of
from flykeep.jobs.persistence import until_done
from flykeep.jobs.restore_leases import Leases
from flykeep.jobs.restore_log import Course
from flykeep.jobs.restore_machine import NewMachines
from flykeep.ports.clock import Clock
from flykeep.ports.production import ProductionFly

STOP_LIMIT = timedelta(minutes=6)  # Fly gives an application 5 minutes at most
START_LIMIT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Switch:
    """`patience` is how long health checks may take."""

    fly: ProductionFly
    clock: Clock
    machines: NewMachines
    patience: timedelta = HEALTH_LIMIT

    async def over(self, course: Course, leases: Leases) -> None:
        """From the old machine to the new one. Goes on from wherever an earlier process stopped."""
        record = await course.record()
        app, new = record.beginning.app, record.machine_id
        assert new is not None  # made before
        old = await self.machines.present(app, record.beginning.machine_id)
        if not record.is_promoted:
            self._refuse_strange(record, old)
            await leases.of(app, new)
            if old is not None and not is_sick(old):
                await leases.of(app, old.id)
            await course.enter(RestorePhase.SWITCHING, machine=old.id if old else None)
            await self._stop(course, leases, old)
        await course.enter(RestorePhase.PROMOTING, machine=new)
        platform = record.machine.platform if record.machine else None
        if platform is not None:
            await self._mark(app, new, PLATFORM_KEY, platform)
        await self.keep_stopped(course, leases, await self.machines.present(app, record.beginning.machine_id))
        await self.machines.start(leases, app, new, within=START_LIMIT)
        volume_id = record.volume_id
        assert volume_id is not None  # the new machine mounts it
        started = await self.machines.present(app, new)
        name = started.name if started else record.beginning.machine_name
        await course.enter_moved(RestorePhase.CHECKING, volume_id=volume_id, machine_id=new, machine_name=name)

    async def see_well(self, course: Course, leases: Leases) -> Condition:
        """Health checks, then traffic; what is not well stays without traffic until somebody decides."""
        record = await course.record()
        app, new = record.beginning.app, record.machine_id
        assert new is not None  # started before
        condition = await condition_of(self.fly, self.clock, app, new, within=self.patience)
        if not condition.health.is_good:
            return condition
        await self.machines.uncordon(leases, app, new)
        if record.beginning.machine_id is not None:
            await self.repoint(leases, app, record.beginning.machine_id, new)
        await self._mark(app, new, RESTORE_KEY, None)
        await course.enter(RestorePhase.RESTORED, health=condition.health.value)
        return condition

    async def keep_stopped(self, course: Course, leases: Leases, old: Machine | None) -> bool:
        """The old machine stays stopped and no deploy sees it; False where its host does not answer yet."""
        if old is None:
            await course.note(FENCED)
            return True
        if is_sick(old):
            await course.note(FENCE_DUE, machine=old.id)
            return False
        if old.state not in {"stopped", "created"}:
            await self._stop(course, leases, old)
        if not is_fenced(old.config_json):
            await self._fence(course, leases, old)
        await course.note(FENCED, machine=old.id, was=old.state)
        return True

    async def _fence(self, course: Course, leases: Leases, old: Machine) -> None:
        if old.config_json is None:
            raise FlyUnavailableError(
                "Fly does not tell the old machine's configuration", facts={"app": old.app, "machine": old.id}
            )
        wanted = fence(old.config_json)
        await course.note(FENCING, machine=old.id, taken=wanted.taken_json)
        lease = await leases.of(old.app, old.id)
        await until_done(
            self.clock,
            lambda: self._is_fenced(old),
            lambda: self.fly.update_machine(lease, wanted.config_json, is_launched=False),
        )

    async def repoint(self, leases: Leases, app: AppName, before: MachineId, after: MachineId) -> None:
        """Machines that stand by for one machine stand by for another."""
        for other in await self.fly.machines(app):
            if other.id in {before, after} or other.config_json is None:
                continue
            if before in standbys_of(other.config_json):
                config = standby_moved(other.config_json, before=before, after=after)
                lease, is_launched = await leases.of(app, other.id), other.is_started
                await self.fly.update_machine(lease, config, is_launched=is_launched)

    async def _stop(self, course: Course, leases: Leases, old: Machine | None) -> None:
        if old is None:
            return
        if is_sick(old):
            await course.note(FENCE_DUE, machine=old.id)
            return
        await self.machines.cordon(leases, old.app, old.id)
        await self.machines.stop(leases, old, within=STOP_LIMIT)

    async def _is_fenced(self, old: Machine) -> bool:
        return is_fenced((await self.fly.machine(old.app, old.id)).config_json)

    async def _mark(self, app: AppName, machine_id: MachineId, key: str, value: str | None) -> None:
        await until_done(self.clock, _never, lambda: self.fly.set_metadata(app, machine_id, key, value))

    @staticmethod
    def _refuse_strange(record: RestoreRecord, old: Machine | None) -> None:
        """Somebody rebuilt the machine meanwhile: what was planned is not true any more."""
        if old is None or not old.mounts:
            return
        if record.beginning.volume_id not in {mount.volume_id for mount in old.mounts}:
            raise RefusalError(
                f"machine {old.id} does not mount {record.beginning.volume_id} any more",
                hint=f"Somebody changed it. `flykeep restore undo {record.run_id}` removes what this restore made.",
                facts={"app": old.app},
            )


@dataclass(frozen=True, slots=True)
class Fencer:
    """Old machines whose hosts did not answer when they were replaced, and now do."""

    switch: Switch

    async def settle(self, course: Course, leases: Leases) -> str | None:
        """What was done about it; None where its host still does not answer."""
        record = await course.record()
        old = await self.switch.machines.present(record.beginning.app, record.beginning.machine_id)
        if old is not None and is_sick(old):
            return None
        was = old.state if old else "gone"
        await self.switch.keep_stopped(course, leases, old)
        return f"the old machine's host is back: it was {was}, and is stopped for good"


def is_sick(machine: Machine) -> bool:
    """Whether its host answers nothing, so that the machine can be told nothing."""
    return machine.host_status is HostStatus.UNREACHABLE


async def _never() -> bool:
    return False

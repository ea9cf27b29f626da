"""The new machine of a restore: made once, not launched, out of the proxy's routing until it is well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import FlyError, FlyNameTakenError, FlyNotFoundError, FlyUnavailableError, RefusalError
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.ids import AppName, MachineId
from flykeep.domain.restore_config import NewMachine, new_machine, owner_run
from flykeep.domain.restore_phases import MACHINE_MADE, Asked, RestorePhase
from flykeep.jobs.persistence import LOST, until_done
from flykeep.jobs.restore_leases import Leases
from flykeep.jobs.restore_log import Course
from flykeep.ports.clock import Clock
from flykeep.ports.production import ProductionFly, ProductionMachine

_POLL_EVERY = timedelta(seconds=5)
_UNSURE_FOR = timedelta(minutes=2)
_DESTROY_LIMIT = timedelta(minutes=3)
_GONE = frozenset({"destroying", "destroyed"})
_TRIES = 2
_FINDING_S = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class NewMachines:
    fly: ProductionFly
    clock: Clock

    async def ensure(self, course: Course, leases: Leases, volume: Volume, config_json: str) -> MachineId:
        """The one machine of this restore, cordoned. Raises FlyCapacityError where the volume's host has no room."""
        record = await course.record()
        app = record.beginning.app
        machine_id = record.machine_id
        if machine_id is None and record.machine is not None:
            machine_id = await self.found(course, record.machine)
        if machine_id is None:
            machine_id = await self._made(course, volume, config_json)
        await self.cordon(leases, app, machine_id)
        return machine_id

    async def cordon(self, leases: Leases, app: AppName, machine_id: MachineId) -> None:
        """A second time is fine."""
        lease = await leases.of(app, machine_id)
        await until_done(self.clock, _never, lambda: self.fly.cordon_machine(lease))

    async def uncordon(self, leases: Leases, app: AppName, machine_id: MachineId) -> None:
        """A second time is fine."""
        lease = await leases.of(app, machine_id)
        await until_done(self.clock, _never, lambda: self.fly.uncordon_machine(lease))

    async def found(self, course: Course, asked: Asked) -> MachineId | None:
        """The machine that was asked for when the answer was lost; None once it is sure that there is none.

        It bears the run in its metadata, so nobody else's is taken for it.
        """
        app = (await course.record()).beginning.app
        while True:
            for machine in await self.fly.machines(app):
                if machine.state not in _GONE and owner_run(machine.config_json) == course.run_id:
                    await course.note(MACHINE_MADE, id=machine.id, found=1)
                    return machine.id
            if self.clock.now() > asked.at + _UNSURE_FOR:
                return None
            await self.clock.sleep(_POLL_EVERY)

    async def _made(self, course: Course, volume: Volume, config_json: str) -> MachineId:
        wanted = new_machine(config_json, volume_id=volume.id, run_id=course.run_id)
        await self._refuse_taken(volume)
        name = (await course.record()).beginning.machine_name
        try:
            return await self._asked(course, volume, wanted, name)
        except FlyNameTakenError:  # Fly keeps names unique here, and the old machine keeps its own
            return await self._asked(course, volume, wanted, f"{name}-{course.run_id.lower()[-6:]}")

    async def _asked(self, course: Course, volume: Volume, wanted: NewMachine, name: str) -> MachineId:
        for _ in range(_TRIES):
            await course.enter(
                RestorePhase.MACHINE, name=name, region=volume.region, volume=volume.id, platform=wanted.platform
            )
            spec = ProductionMachine(volume.app, name, volume.region, wanted.config_json, is_cordoned=True)
            try:
                machine = await self.fly.make_machine(spec)
            except LOST:
                intent = (await course.record()).machine
                assert intent is not None  # just journalled
                found = await self.found(course, intent)
                if found is not None:
                    return found
            else:
                await course.note(MACHINE_MADE, id=machine.id, name=name)
                return machine.id
        raise FlyUnavailableError("Fly did not answer, and made no machine", facts={"app": volume.app})

    async def _refuse_taken(self, volume: Volume) -> None:
        """Somebody's `fly scale` may have taken the new volume, which bears the mount's name."""
        holder = (await self.fly.volume(volume.app, volume.id)).attached_machine_id
        if holder is not None:
            raise RefusalError(
                f"machine {holder} has taken the new volume",
                hint="Most likely `fly scale` or `fly deploy` made it. Destroy it, then `flykeep restore resume`.",
                facts={"app": volume.app, "volume": volume.id},
            )

    async def stop(self, leases: Leases, machine: Machine, *, within: timedelta) -> None:
        """Stopped, and seen to be. Raises FlyUnavailableError where it is not in time."""
        if machine.state == "created":
            return
        app, machine_id = machine.app, machine.id
        lease = await leases.of(app, machine_id)
        await until_done(
            self.clock, lambda: self.is_in(app, machine_id, "stopped"), lambda: self.fly.stop_machine(lease)
        )
        if not await self.fly.wait_for_state(app, machine_id, "stopped", within=within):
            raise FlyUnavailableError(
                f"machine {machine_id} did not stop within {within}", facts={"app": app, "machine": machine_id}
            )

    async def start(self, leases: Leases, app: AppName, machine_id: MachineId, *, within: timedelta) -> None:
        """Started, and seen to be. Raises FlyUnavailableError where it is not in time."""
        lease = await leases.of(app, machine_id)
        await until_done(
            self.clock, lambda: self.is_in(app, machine_id, "started"), lambda: self.fly.start_machine(lease)
        )
        if not await self.fly.wait_for_state(app, machine_id, "started", within=within):
            raise FlyUnavailableError(
                f"machine {machine_id} did not start within {within}", facts={"app": app, "machine": machine_id}
            )

    async def destroy(self, leases: Leases, app: AppName, machine_id: MachineId) -> None:
        """Refused by Fly where it runs: only what is stopped is ever destroyed."""
        if await self.is_gone(app, machine_id):
            return
        lease = await leases.of(app, machine_id)
        await until_done(
            self.clock,
            lambda: self.is_gone(app, machine_id),
            lambda: self.fly.destroy_machine(app, machine_id, lease=lease, is_forced=False),
        )
        try:
            is_gone = await self.fly.wait_for_state(app, machine_id, "destroyed", within=_DESTROY_LIMIT)
        except FlyNotFoundError:
            return
        if not is_gone:
            raise FlyError("the machine is still there", facts={"app": app, "machine": machine_id})

    async def is_in(self, app: AppName, machine_id: MachineId, state: str) -> bool:
        """Whether Fly says that it is in this state now."""
        machine = await self.present(app, machine_id)
        return machine is not None and machine.state == state

    async def is_gone(self, app: AppName, machine_id: MachineId) -> bool:
        """Whether it is destroyed, or on its way."""
        return await self.present(app, machine_id) is None

    async def present(self, app: AppName, machine_id: MachineId | None) -> Machine | None:
        """The machine, None where there is none (any more): Fly does not find a new one for a moment."""
        if machine_id is None:
            return None
        for wait_s in (*_FINDING_S, 0):
            try:
                machine = await self.fly.machine(app, machine_id)
            except FlyNotFoundError:
                await self.clock.sleep(timedelta(seconds=wait_s))
            else:
                return None if machine.state in _GONE else machine
        listed = [one for one in await self.fly.machines(app) if one.id == machine_id and one.state not in _GONE]
        return listed[0] if listed else None


async def _never() -> bool:
    return False

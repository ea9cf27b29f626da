"""Puts a worker machine on a volume that exists already, in whatever app it is; the volume outlives the visit.

A visit takes none of the places that drills and exports share: whoever restores at night must not queue behind them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from flykeep.domain.errors import FlyCapacityError, FlyError, FlyUnavailableError, RefusalError
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.ids import AppName, VolumeId
from flykeep.domain.scratch import WORKER_GUESTS, GuestSize, machine_name
from flykeep.jobs.context import Journal
from flykeep.jobs.scratch import Errand
from flykeep.jobs.scratch_removal import Remover
from flykeep.jobs.scratch_steps import SCRATCH, made, names_used
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.scratch import Guest, ScratchFly, WorkerMachine

FREE = "volume free"
STILL_HELD = "volume still held"
_FIRST_LOOK, _LOOK_EVERY = timedelta(seconds=1), timedelta(seconds=5)
_MOUNTABLE = frozenset({"created", "hydrating"})


@dataclass(frozen=True, slots=True)
class VisitLimits:
    """How long each wait may take. Fly restores for up to an hour, and learns late that a machine has gone."""

    volume: timedelta = timedelta(hours=1)
    start: timedelta = timedelta(minutes=10)
    release: timedelta = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Only the machine is journalled as ours, so nothing that removes temporary things can take the volume.

    One visit at a time in a run, and none beside a `Scratch.worker` of the same run: removal takes all of a run's.
    """

    fly: ScratchFly
    catalog: Catalog
    clock: Clock
    image: str
    limits: VisitLimits = VisitLimits()

    @asynccontextmanager
    async def visit(self, journal: Journal, volume: Volume, errand: Errand) -> AsyncIterator[Machine]:
        """A started machine with the volume mounted; afterwards it is gone, and the volume free for another.

        Raises RefusalError for a volume that a machine holds or that is going, FlyCapacityError where its host has room
        for no guest size, FlyUnavailableError where a machine may still hold it afterwards.
        """
        remover = Remover(self.fly, self.catalog, self.clock)
        volume = await self._until_mountable(volume.app, volume.id)
        is_called_off = False
        try:
            yield await self._make(journal, volume, errand, remover)
        except asyncio.CancelledError:
            is_called_off = True  # there is no time to wait for Fly's bookkeeping
            raise
        finally:
            await remover.clean_up(journal)
            is_free = is_called_off or await self._is_free(journal, volume)
        if not is_free:
            raise FlyUnavailableError(
                "the worker machine was removed, and Fly still says that the volume is attached",
                hint="Wait some minutes; `flykeep reconcile` shows and removes what is left of the worker machine.",
                facts=_facts(volume),
            )

    async def _until_mountable(self, app: AppName, volume_id: VolumeId) -> Volume:
        started, pause = self.clock.monotonic(), _FIRST_LOOK
        while True:
            volume = await self.fly.volume(app, volume_id)
            if volume.is_leaving or volume.attached_machine_id is not None:
                why = f"machine {volume.attached_machine_id} holds it" if not volume.is_leaving else volume.state
                raise RefusalError(f"no worker machine can have this volume: {why}", facts=_facts(volume))
            if volume.state in _MOUNTABLE:
                return volume
            if self.clock.monotonic() - started > self.limits.volume.total_seconds():
                raise FlyUnavailableError(
                    f"the volume is still {volume.state!r} after {self.limits.volume}", facts=_facts(volume)
                )
            await self.clock.sleep(pause)
            pause = min(2 * pause, _LOOK_EVERY)

    async def _make(self, journal: Journal, volume: Volume, errand: Errand, remover: Remover) -> Machine:
        """Walk the guest sizes: a volume never leaves its host, which may have room for one of another shape."""
        async with self.catalog.transaction() as tx:
            used = names_used(await tx.steps(journal.run.id))
        for number, size in enumerate(WORKER_GUESTS, start=used + 1):
            try:
                return await self._attempt(journal, volume, errand, size, machine_name(journal.run.id, number))
            except FlyCapacityError:
                await journal.step("no room", region=volume.region, guest=f"{size.cpu_kind}-{size.cpus}x")
                await remover.clear(journal)
        raise FlyCapacityError(
            "the volume's host has no room for a worker machine of any size",
            hint="A volume stays on its host: make another one from the same source, or try again later.",
            facts=_facts(volume),
        )

    async def _attempt(self, journal: Journal, volume: Volume, errand: Errand, size: GuestSize, name: str) -> Machine:
        spec = WorkerMachine(
            app=volume.app,
            name=name,
            region=volume.region,
            image=self.image,
            guest=Guest(size.cpu_kind, size.cpus, size.memory_mb),
            volume_id=volume.id,
            mount=errand.mount,
            command=errand.command,
            run_id=journal.run.id,
        )
        await journal.step(SCRATCH, kind="machine", app=volume.app, name=name, region=volume.region, volume=volume.id)
        machine = await self.fly.create_machine(spec)
        await journal.step(made("machine"), name=name, id=machine.id)
        if not await self.fly.wait_for_state(volume.app, machine.id, "started", within=self.limits.start):
            raise FlyUnavailableError(
                f"the worker machine did not start within {self.limits.start}",
                facts={"app": volume.app, "machine": machine.id},
            )
        return replace(machine, state="started")

    async def _is_free(self, journal: Journal, volume: Volume) -> bool:
        """Whether Fly says so in time; journalled, for what failed before must not be hidden by this."""
        started, why, pause = self.clock.monotonic(), "", _FIRST_LOOK
        while self.clock.monotonic() - started <= self.limits.release.total_seconds():
            try:
                holder = (await self.fly.volume(volume.app, volume.id)).attached_machine_id
            except FlyError as error:
                why = error.message
            else:
                if holder is None:
                    await journal.step(FREE, volume=volume.id)
                    return True
                why = f"attached to {holder}"
            await self.clock.sleep(pause)
            pause = min(2 * pause, _LOOK_EVERY)
        await journal.step(STILL_HELD, volume=volume.id, error=why)
        return False


def _facts(volume: Volume) -> dict[str, str | int | None]:
    return {"app": volume.app, "volume": volume.id}

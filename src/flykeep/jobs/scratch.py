"""Makes a temporary volume from a snapshot with a worker machine on it, and removes both whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import (
    BusyError,
    FlyCapacityError,
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyNotFoundError,
    FlyUnavailableError,
    RefusalError,
)
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.scratch import Attempt, ScratchPlan
from flykeep.jobs.context import Journal
from flykeep.jobs.scratch_removal import Remover
from flykeep.jobs.scratch_steps import PLACE, SCRATCH, made, names_used, taken_places
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.scratch import Guest, ScratchFly, ScratchVolume, WorkerMachine

_POLL_EVERY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class ScratchLimits:
    """How long each wait may take."""

    place: timedelta = timedelta(hours=1)
    volume: timedelta = timedelta(minutes=20)
    start: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Errand:
    """What the machine is for: where it has the volume, and what it runs."""

    mount: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scratch:
    """Every name is journalled before Fly hears of it, so that reconcile removes what a dead process made."""

    fly: ScratchFly
    catalog: Catalog
    clock: Clock
    image: str
    max_workers: int
    limits: ScratchLimits = ScratchLimits()

    @asynccontextmanager
    async def worker(self, journal: Journal, plan: ScratchPlan, errand: Errand) -> AsyncIterator[Machine]:
        """A started machine with the snapshot's contents mounted.

        Raises FlyCapacityError where no guest size in no region has room, BusyError where no place became free,
        RefusalError where the app may not have this snapshot. What was made is gone at the end of the context, or is
        journalled as left behind.
        """
        remover = Remover(self.fly, self.catalog, self.clock)
        await self._take_place(journal)
        try:
            yield await self._make(journal, plan, errand, remover)
        finally:
            await remover.clean_up(journal)

    async def _take_place(self, journal: Journal) -> None:
        """Count and take in one transaction, so that processes side by side never have too many together."""
        started = self.clock.monotonic()
        while True:
            async with self.catalog.transaction() as tx:
                open_runs = await tx.runs(is_open=True, limit=1000)
                others = [await tx.steps(run.id) for run in open_runs if run.id != journal.run.id]
                if sum(map(taken_places, others)) < self.max_workers:
                    await journal.add(tx, PLACE)
                    return
            if self.clock.monotonic() - started > self.limits.place.total_seconds():
                raise BusyError(
                    f"{self.max_workers} temporary machines are in use, and none became free",
                    hint="Raise [scratch] max_workers, or see with `flykeep runs` what takes so long.",
                )
            await self.clock.sleep(_POLL_EVERY)

    async def _make(self, journal: Journal, plan: ScratchPlan, errand: Errand, remover: Remover) -> Machine:
        """Walk guest sizes, then regions; what a refused attempt made is removed before the next."""
        async with self.catalog.transaction() as tx:
            used = names_used(await tx.steps(plan.run_id))
        refusal: FlyCapacityError | None = None
        for attempt in plan.attempts(after=used):
            try:
                return await self._attempt(journal, plan, errand, attempt)
            except FlyCapacityError as error:
                refusal = error
                await journal.step(
                    "no room", region=attempt.region, guest=f"{attempt.guest.cpu_kind}-{attempt.guest.cpus}x"
                )
                await remover.clear(journal)
        assert refusal is not None  # a plan has at least one attempt
        raise refusal

    async def _attempt(self, journal: Journal, plan: ScratchPlan, errand: Errand, attempt: Attempt) -> Machine:
        guest = Guest(attempt.guest.cpu_kind, attempt.guest.cpus, attempt.guest.memory_mb)
        await journal.step(SCRATCH, kind="volume", app=plan.app, name=attempt.volume_name, region=attempt.region)
        spec = ScratchVolume(
            plan.app, attempt.volume_name, attempt.region, plan.size_gb, plan.snapshot_id, guest, self.image
        )
        volume = await _explained(self.fly.create_volume(spec), plan)
        await journal.step(made("volume"), name=attempt.volume_name, id=volume.id)
        await self._until_restored(volume)
        await journal.step(SCRATCH, kind="machine", app=plan.app, name=attempt.machine_name, region=attempt.region)
        machine = await self.fly.create_machine(
            WorkerMachine(
                app=plan.app,
                name=attempt.machine_name,
                region=attempt.region,
                image=self.image,
                guest=guest,
                volume_id=volume.id,
                mount=errand.mount,
                command=errand.command,
                run_id=plan.run_id,
            )
        )
        await journal.step(made("machine"), name=attempt.machine_name, id=machine.id)
        if not await self.fly.wait_for_state(plan.app, machine.id, "started", within=self.limits.start):
            raise FlyUnavailableError(
                f"the worker machine did not start within {self.limits.start}",
                facts={"app": plan.app, "machine": machine.id},
            )
        return machine

    async def _until_restored(self, volume: Volume) -> None:
        started = self.clock.monotonic()
        while volume.state != "created":
            if self.clock.monotonic() - started > self.limits.volume.total_seconds() or volume.is_leaving:
                raise FlyUnavailableError(
                    f"the volume made from the snapshot is still {volume.state!r}",
                    facts={"app": volume.app, "volume": volume.id},
                )
            await self.clock.sleep(_POLL_EVERY)
            volume = await self.fly.volume(volume.app, volume.id)


async def _explained(creating: Awaitable[Volume], plan: ScratchPlan) -> Volume:
    """Fly's no to another app's snapshot, with what can be done about it; nothing was made then."""
    try:
        return await creating
    except (FlyForbiddenError, FlyInvalidRequestError, FlyNotFoundError) as error:
        raise RefusalError(
            f"Fly does not make a volume of this snapshot in the app {plan.app}: {error.message}",
            hint="Create that app in the same organization, or set [scratch] in_target_app = true.",
            facts={"app": plan.app, "snapshot": plan.snapshot_id},
        ) from error

"""`restore --to APP`: a backup into another app, the source only read.

A copy is whole or it is removed: what a failed or dead one made is taken away, at once or by reconcile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from flykeep.domain.documents import to_json
from flykeep.domain.errors import (
    FlyError,
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlykeepError,
    FlyNameTakenError,
    FlyNotFoundError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
    RefusalError,
)
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.ids import AppName, MachineId, VolumeId
from flykeep.domain.restore_copy import CopiedMachine, CopyPlan, derived_name, guest_of, is_the_new_one
from flykeep.domain.run import Outcome, RunState
from flykeep.domain.scratch import WORKER_GUESTS
from flykeep.jobs.context import TargetWork
from flykeep.jobs.copy_planner import CopyPlanner, Planned
from flykeep.jobs.copy_removal import CopyRemover
from flykeep.jobs.copy_steps import COPIED, MACHINE, MACHINE_MADE, REMOVED, VOLUME, VOLUME_MADE
from flykeep.jobs.probing import ProbeReport
from flykeep.ports.clock import Clock
from flykeep.ports.production import ProductionFly, ProductionMachine, ProductionVolume
from flykeep.ports.scratch import Guest

_LOOKS = 3
_LOOK_EVERY = timedelta(seconds=2)
_POLL_EVERY = timedelta(seconds=5)
_VOLUME_LIMIT = timedelta(hours=1)
_START_LIMIT = timedelta(minutes=5)
_LOST = (FlyUnavailableError, FlyUnexpectedAnswerError)
_NOT_ACROSS = (FlyForbiddenError, FlyInvalidRequestError, FlyNotFoundError)


@dataclass(frozen=True, slots=True)
class CopyMachineResult:
    machine_id: MachineId
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What the run keeps; `flaws` are why it is degraded, `notes` what a person should know."""

    app: AppName
    volume_id: VolumeId
    volume_name: str
    region: str
    size_gb: int
    source: str
    report: ProbeReport | None
    machine: CopyMachineResult | None
    flaws: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CopyJob:
    """A restore whose request names another app."""

    planner: CopyPlanner
    fly: ProductionFly
    remover: CopyRemover
    clock: Clock
    image: str | None

    async def run(self, work: TargetWork) -> Outcome:
        planned = await self.planner.plan(work.lineage, work.run.request)
        plan = planned.plan
        await work.journal.step("plan", app=plan.app, source=plan.source.words, size_gb=plan.size_gb)
        try:
            result = await self._copied(work, planned)
        except BaseException:
            await self.remover.clean_up(work.journal)
            raise
        return Outcome(RunState.DEGRADED if result.flaws else RunState.SUCCEEDED, to_json(result))

    async def _copied(self, work: TargetWork, planned: Planned) -> CopyResult:
        plan, flaws = planned.plan, []
        volume = await self._volume(work, plan)
        report = await self._contents(work, planned, volume)
        if report is not None and report.reason is not None:
            flaws.append(report.reason)
        made, notes = None, list(plan.notes)
        if plan.machine is not None:
            try:
                made = await self._machine(work, plan, plan.machine, volume)
            except _LOST:
                raise  # it may be there: then it holds the volume
            except FlyError as error:
                flaws.append(f"the copy is complete, and its machine could not be made: {error}")
        if made is not None and plan.machine is not None:
            flaws += await self._started(plan, made)
            if made.name != plan.machine.name:
                notes.append(f"{plan.app} has a machine {plan.machine.name} already: the copy's is {made.name}")
        machine = CopyMachineResult(made.id, made.name, made.state) if made else None
        await work.journal.step(COPIED, app=plan.app, volume=volume.id, machine=machine.machine_id if machine else None)
        told = tuple(note.replace("COPY:", f"{volume.id}:") for note in notes)
        where = plan.app, volume.id, volume.name, volume.region, volume.size_gb
        return CopyResult(*where, plan.source.words, report, machine, tuple(flaws), told)

    # the volume

    async def _volume(self, work: TargetWork, plan: CopyPlan) -> Volume:
        """Made once: where its answer is lost, it is looked for among what was not there before."""
        before = tuple(str(volume.id) for volume in await self.fly.app_volumes(plan.app))
        size = guest_of(plan.machine, WORKER_GUESTS[-1])
        spec = ProductionVolume(
            app=plan.app,
            name=plan.volume_name,
            region=plan.region,
            size_gb=plan.size_gb,
            snapshot_id=plan.source.snapshot_id,
            guest=Guest(size.cpu_kind, size.cpus, size.memory_mb),
            image=self.image,
            retention_days=None,
        )
        await work.journal.step(VOLUME, app=plan.app, name=spec.name, region=spec.region, size_gb=spec.size_gb)
        found = None
        try:
            volume = await self.fly.make_volume(spec)
        except _LOST as error:
            volume, found = await self._looked_for(spec, before, error), 1
        except FlyError as error:
            await work.journal.step(REMOVED, error=f"nothing was made: {error.message}")
            raise _explained(plan, error) from error
        await work.journal.step(VOLUME_MADE, id=volume.id, found=found)
        return volume

    async def _looked_for(self, spec: ProductionVolume, before: tuple[str, ...], error: FlyError) -> Volume:
        for _ in range(_LOOKS):
            there = await self.fly.app_volumes(spec.app)
            new = [
                one
                for one in there
                if is_the_new_one(one, name=spec.name, region=spec.region, size_gb=spec.size_gb, before=before)
            ]
            if len(new) == 1:
                return new[0]
            await self.clock.sleep(_LOOK_EVERY)
        raise error

    async def _contents(self, work: TargetWork, planned: Planned, volume: Volume) -> ProbeReport | None:
        """What the volume holds, by a worker machine; without one nobody looks, and it is only waited for."""
        filler = self.planner.filler
        if filler is None:
            await self._until_restored(volume)
            return None
        if planned.artifact is None:
            return await filler.prober.probe(work, volume, as_of=planned.plan.source.as_of)
        return await filler.fill(
            work.journal, volume, planned.artifact, probes=work.rule.probes, on_progress=work.on_progress
        )

    async def _until_restored(self, volume: Volume) -> None:
        started = self.clock.monotonic()
        while volume.state not in {"created", "hydrating"}:
            if volume.is_leaving or self.clock.monotonic() - started > _VOLUME_LIMIT.total_seconds():
                raise FlyUnavailableError(f"the volume is still {volume.state!r}", facts={"volume": volume.id})
            await self.clock.sleep(_POLL_EVERY)
            volume = await self.fly.volume(volume.app, volume.id)

    # the machine

    async def _machine(self, work: TargetWork, plan: CopyPlan, copied: CopiedMachine, volume: Volume) -> Machine:
        spec = ProductionMachine(
            app=plan.app,
            name=copied.name,
            region=volume.region,
            config_json=copied.mounting(volume.id),
            is_launched=copied.is_launched,
        )
        try:
            return await self._named(work, spec, volume)
        except FlyNameTakenError:
            return await self._named(work, replace(spec, name=derived_name(spec.name, work.run.id)), volume)

    async def _named(self, work: TargetWork, spec: ProductionMachine, volume: Volume) -> Machine:
        await work.journal.step(MACHINE, app=spec.app, name=spec.name)
        machine = await self._made(spec, volume)
        await work.journal.step(MACHINE_MADE, name=spec.name, id=machine.id)
        return machine

    async def _made(self, spec: ProductionMachine, volume: Volume) -> Machine:
        """A machine that mounts this volume is the one that was asked for: nobody else knows the volume."""
        try:
            return await self.fly.make_machine(spec)
        except _LOST:
            for _ in range(_LOOKS):
                for machine in await self.fly.machines(spec.app):
                    if volume.id in {mount.volume_id for mount in machine.mounts}:
                        return machine
                await self.clock.sleep(_LOOK_EVERY)
            raise

    async def _started(self, plan: CopyPlan, machine: Machine) -> list[str]:
        if plan.machine is None or not plan.machine.is_launched:
            return []
        if await self.fly.wait_for_state(plan.app, machine.id, "started", within=_START_LIMIT):
            return []
        return [f"machine {machine.name} did not start within {_START_LIMIT}"]


def _explained(plan: CopyPlan, error: FlyError) -> FlykeepError:
    """Fly's no to another app's snapshot, with what can be done about it."""
    if plan.source.snapshot_id is None or not isinstance(error, _NOT_ACROSS):
        return error
    return RefusalError(
        f"Fly makes no volume of this snapshot in the app {plan.app}: {error.message}",
        hint="Look whether the token may make volumes there, or copy an artifact: --artifact latest --to APP.",
        facts={"app": plan.app, "snapshot": plan.source.snapshot_id},
    )

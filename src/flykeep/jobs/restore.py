"""Bring a target's data back: a new volume and machine beside the old ones, looked at, then put in their place."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.domain.documents import to_json
from flykeep.domain.errors import FlyCapacityError, FlykeepError, IntegrityError, InternalError
from flykeep.domain.ids import ExportId, MachineId, RunId, VolumeId
from flykeep.domain.policy import JobKind
from flykeep.domain.restore_config import guest_size, image_of
from flykeep.domain.restore_phases import (
    SAFE,
    SAFETY,
    RestorePhase,
    RestoreRecord,
    beginning_detail,
    next_step,
    refuse_ending,
)
from flykeep.domain.run import Outcome, Run, RunState
from flykeep.jobs.context import TargetWork
from flykeep.jobs.health import Condition, Health
from flykeep.jobs.restore_ending import RestoreEnding
from flykeep.jobs.restore_leases import Leases
from flykeep.jobs.restore_log import Course, RestoreLog, of_run
from flykeep.jobs.restore_machine import NewMachines
from flykeep.jobs.restore_planner import RestorePlanner
from flykeep.jobs.restore_switch import Switch, is_sick
from flykeep.jobs.restore_volume import NewVolume, VolumeShape
from flykeep.jobs.runner import TargetJob
from flykeep.jobs.scratch_sweep import ScratchSweep
from flykeep.ports.clock import Clock
from flykeep.ports.production import ProductionFly
from flykeep.ports.scratch import Guest


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What a restore's run, or one that ended it, keeps; `restore_id` is what `undo` and `finalize` take."""

    restore_id: RunId
    phase: RestorePhase
    source: str
    volume_id: VolumeId | None
    machine_id: MachineId | None
    old_volume_id: VolumeId
    old_machine_id: MachineId | None
    health: str
    detail: str
    down_s: float | None
    next_step: str


@dataclass(frozen=True, slots=True)
class RestoreJob:
    """Until the switch nothing of the application is touched; from then on every step can be gone on with, or undone.

    Nothing is undone by itself: a restore whose machine is not well waits for a person.
    """

    planner: RestorePlanner
    fly: ProductionFly
    clock: Clock
    log: RestoreLog
    volumes: NewVolume
    machines: NewMachines
    switch: Switch
    ending: RestoreEnding
    leftovers: ScratchSweep | None = None
    copies: TargetJob | None = None

    async def run(self, work: TargetWork) -> Outcome:
        """A restore, a copy into another app, or `resume`, `undo` and `finalize` of an earlier restore."""
        request = work.run.request
        if request.to_app is not None:
            if self.copies is None:
                raise InternalError("copies into other apps are not built")
            return await self.copies.run(work)
        if request.ending is not None:
            course = Course(self.log, RunId(request.of_run or ""), work)
            refuse_ending(request.ending, await self.log.record(course.run_id))
            await self._clear(course)
            return await self.go_on(course, request.ending)
        plan = await self.planner.plan(work.lineage, request)
        await work.journal.step("plan", cost=plan.cost, down=plan.down_for, why="; ".join(plan.notes))
        course = Course(self.log, work.run.id, work)
        await course.enter(RestorePhase.BEGUN, **beginning_detail(plan.beginning))
        return await self.go_on(course, "resume")

    async def go_on(self, course: Course, ending: str) -> Outcome:
        """Bring a restore to where `ending` leads to, from wherever it is."""
        record = await course.record()
        until = record.lease_until
        leases = Leases(self.fly, self.clock, course, ours_until=until)
        condition = None
        try:
            if ending == "undo" or record.phase in {RestorePhase.UNDOING, RestorePhase.UNDONE}:
                await self.ending.undo(course, leases)
            elif ending == "finalize" or record.phase is RestorePhase.FINALIZING:
                await self.ending.finalize(course, leases)
            else:
                condition = await self._forward(course, leases)
        except FlykeepError as error:
            await self._explain(course, error)
            raise
        finally:
            await leases.release()
        return await self._outcome(course, condition)

    async def _forward(self, course: Course, leases: Leases) -> Condition:
        record = await course.record()
        try:
            if record.phase.is_before_switch:
                await self._prepare(course, leases)
        except (IntegrityError, FlyCapacityError):
            # What was made is of no use: it goes, and the running machine has never heard of it.
            await course.enter(RestorePhase.UNDOING)
            await self.ending.remove_new(course, leases)
            raise
        except FlykeepError:
            await self._end_if_nothing(course)
            raise
        if not (await course.record()).phase.is_on_new:
            await self.switch.over(course, leases)
        return await self.switch.see_well(course, leases)

    async def _prepare(self, course: Course, leases: Leases) -> None:
        beginning = (await course.record()).beginning
        artifact = await self.planner.artifact(ExportId(beginning.export_id)) if beginning.export_id else None
        old = await self.machines.present(beginning.app, beginning.machine_id)
        config_json = await self.planner.config(course.work.lineage, old)
        await self._safety(course, is_reachable=old is not None and not is_sick(old))
        shape = await self._shape(course, config_json)
        volume = await self.volumes.ensure(course, shape)
        if artifact is not None and await self._is_half_filled(course):
            await self.volumes.drop(course, volume)
            volume = await self.volumes.ensure(course, shape)
        await self.volumes.look(course, volume, artifact)
        await self.machines.ensure(course, leases, volume, config_json)

    async def _safety(self, course: Course, *, is_reachable: bool) -> None:
        record = await course.record()
        if record.is_safe:
            return
        if not is_reachable:
            why = "the host is unreachable" if record.beginning.machine_id else "no machine has the volume"
            await course.note(SAFE, skipped=why)
            return
        await course.note(SAFETY, volume=record.beginning.volume_id)
        run = await self._begun_by(course)
        snapshot = await self.ending.safety(course, record.beginning.volume_id, run)
        await course.note(SAFE, snapshot=snapshot)

    async def _shape(self, course: Course, config_json: str) -> VolumeShape:
        beginning, guest = (await course.record()).beginning, guest_size(config_json)
        there = {one.id: one for one in await self.fly.app_volumes(beginning.app)}
        old = there.get(beginning.volume_id)
        return VolumeShape(
            guest=Guest(guest.cpu_kind, guest.cpus, guest.memory_mb),
            image=image_of(config_json),
            retention_days=old.snapshot_retention_days if old else None,
            is_automatic_snapshot_on=old is None or old.is_automatic_snapshot_on is not False,
        )

    @staticmethod
    async def _is_half_filled(course: Course) -> bool:
        """Whether a worker began to fill the volume, and nobody knows how far it came."""
        record = await course.record()
        return record.is_content_begun and not record.is_content_good

    async def _begun_by(self, course: Course) -> Run:
        """The run that began the restore: a snapshot made since then counts, whoever goes on."""
        async with self.log.catalog.transaction() as tx:
            run = await tx.run(course.run_id)
        return run or course.work.run

    async def _clear(self, course: Course) -> None:
        """Worker machines that dead processes of this restore left hold its volume."""
        if self.leftovers is None:
            return
        async with self.log.catalog.transaction() as tx:
            runs = await tx.runs(lineage_id=course.work.lineage.id, kind=JobKind.RESTORE, limit=1000)
        over = [one for one in of_run(runs, course.run_id) if one != course.work.run.id]
        for left in await self.leftovers.sweep(over, (), is_applied=True, is_thorough=False):
            await course.work.journal.step("left by an earlier process", names=" ".join(left.names), done=left.action)

    async def _end_if_nothing(self, course: Course) -> None:
        """A restore that has made nothing leaves nothing to decide."""
        record = await course.record()
        if record.volume is None and record.machine is None:
            await course.enter(RestorePhase.OVER, removed="nothing was made")

    @staticmethod
    async def _explain(course: Course, error: FlykeepError) -> None:
        step = next_step(await course.record())
        if step is not None:
            error.next_step = f"{error.next_step} {step}"

    async def _outcome(self, course: Course, condition: Condition | None) -> Outcome:
        record = await course.record()
        is_good = condition is None or condition.health.is_good
        return Outcome(RunState.SUCCEEDED if is_good else RunState.DEGRADED, to_json(self._result(record, condition)))

    def _result(self, record: RestoreRecord, condition: Condition | None) -> RestoreResult:
        beginning = record.beginning
        is_measured = record.phase is RestorePhase.RESTORED and beginning.was_running
        down = self.clock.now() - record.switching_at if record.switching_at and is_measured else None
        return RestoreResult(
            restore_id=record.run_id,
            phase=record.phase,
            source=f"snapshot {beginning.snapshot_id}" if beginning.snapshot_id else f"artifact {beginning.export_id}",
            volume_id=record.volume_id,
            machine_id=record.machine_id,
            old_volume_id=beginning.volume_id,
            old_machine_id=beginning.machine_id,
            health=(condition.health if condition else Health.UNTOUCHED).value,
            detail=condition.detail if condition else "",
            down_s=None if down is None else down.total_seconds(),
            next_step=next_step(record) or "",
        )

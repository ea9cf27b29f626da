"""The ways a restore ends: back to the old machine and volume, or without them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from flykeep.domain.errors import FlyUnavailableError, RefusalError
from flykeep.domain.fly import Machine
from flykeep.domain.ids import MachineId, VolumeId
from flykeep.domain.policy import Hooks
from flykeep.domain.restore_config import PLATFORM_KEY, is_fenced, unfence
from flykeep.domain.restore_phases import RestorePhase, RestoreRecord
from flykeep.domain.run import Run
from flykeep.jobs.context import TargetWork
from flykeep.jobs.persistence import until_done
from flykeep.jobs.restore_leases import Leases
from flykeep.jobs.restore_log import Course
from flykeep.jobs.restore_machine import NewMachines
from flykeep.jobs.restore_switch import START_LIMIT, STOP_LIMIT, Switch, is_sick
from flykeep.jobs.restore_volume import NewVolume
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.ports.clock import Clock
from flykeep.ports.production import ProductionFly

_SNAPSHOT_LIMIT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class RestoreEnding:
    """Only what the journal says this restore made, or what it replaced, is ever removed."""

    fly: ProductionFly
    clock: Clock
    volumes: NewVolume
    machines: NewMachines
    switch: Switch
    snapshots: SnapshotJob

    async def undo(self, course: Course, leases: Leases) -> None:
        """The old machine with its old configuration on the old volume; then what was made is removed.

        Raises RefusalError, before anything changes, where the old machine cannot be started.
        """
        record = await course.record()
        old = await self.machines.present(record.beginning.app, record.beginning.machine_id)
        if record.phase is RestorePhase.UNDONE:
            pass
        elif record.is_switched:
            self._refuse_lost(record, old)
            await course.enter(RestorePhase.UNDOING)
            await self._go_back(leases, record, old)
            await course.enter_moved(
                RestorePhase.UNDONE,
                volume_id=record.beginning.volume_id,
                machine_id=record.beginning.machine_id,
                machine_name=record.beginning.machine_name,
            )
        else:
            await course.enter(RestorePhase.UNDOING)
        await self.remove_new(course, leases)

    async def finalize(self, course: Course, leases: Leases) -> None:
        """The old machine and volume go; of a restore that was undone, the new ones."""
        record = await course.record()
        if record.phase is RestorePhase.UNDONE:
            await self.remove_new(course, leases)
            return
        beginning = record.beginning
        old = await self.machines.present(beginning.app, beginning.machine_id)
        self._refuse_needed(course, record, old)
        await course.enter(RestorePhase.FINALIZING, machine=beginning.machine_id, volume=beginning.volume_id)
        if old is not None:
            await self.machines.destroy(leases, beginning.app, old.id)
        await self._delete(record, beginning.volume_id, holder=beginning.machine_id)
        await course.enter(RestorePhase.OVER, removed=f"{beginning.machine_id or 'no machine'}, {beginning.volume_id}")

    async def remove_new(self, course: Course, leases: Leases) -> None:
        """What this restore made goes, a snapshot of what the application wrote there first."""
        record = await course.record()
        app, volume_id, machine_id = record.beginning.app, record.volume_id, record.machine_id
        if volume_id is None and record.volume is not None:
            found = await self.volumes.found(course, record.volume)
            volume_id = found.id if found else None
        if machine_id is None and record.machine is not None:
            machine_id = await self.machines.found(course, record.machine)
        if volume_id is not None and record.is_promoted:
            await self._keepsake(course, record, volume_id)
        if machine_id is not None:
            await self.machines.destroy(leases, app, machine_id)
        if volume_id is not None:
            await self._delete(record, volume_id, holder=machine_id)
        removed = ", ".join(one for one in (machine_id, volume_id) if one)
        await course.enter(RestorePhase.OVER, removed=removed or "nothing was made")

    async def safety(self, course: Course, volume_id: VolumeId, run: Run) -> str | None:
        """A snapshot of a volume as it is, without hooks: what spoiled it may have spoiled them. Its id."""
        quiet = replace(course.work.rule, hooks=Hooks())
        work = TargetWork(run, course.work.lineage, quiet, course.work.journal)
        volume = await self.fly.volume(course.work.lineage.app, volume_id)
        match = await replace(self.snapshots, deadline=_SNAPSHOT_LIMIT).take(work, volume)
        return match.snapshot.id if match.snapshot else None

    async def _go_back(self, leases: Leases, record: RestoreRecord, old: Machine | None) -> None:
        app, new_id = record.beginning.app, record.machine_id
        new = await self.machines.present(app, new_id)
        if new is not None:
            if is_sick(new):
                raise FlyUnavailableError(
                    "the new machine's host does not answer, so it cannot be stopped before the old one starts",
                    hint=f"Try `flykeep restore resume {record.run_id}` when it does.",
                    facts={"app": app, "machine": new.id},
                )
            await self.machines.cordon(leases, app, new.id)
            await self.machines.stop(leases, new, within=STOP_LIMIT)
        if old is None:
            return
        await self._give_back(leases, record, old)
        if new is not None:
            await until_done(self.clock, _never, lambda: self.fly.set_metadata(app, new.id, PLATFORM_KEY, None))
        if record.beginning.was_running:
            await self.machines.start(leases, app, old.id, within=START_LIMIT)
        await self.machines.uncordon(leases, app, old.id)
        if new_id is not None:
            await self.switch.repoint(leases, app, new_id, old.id)

    async def _give_back(self, leases: Leases, record: RestoreRecord, old: Machine) -> None:
        """The configuration as it was, where it was changed."""
        if record.fence_json is None or not is_fenced(old.config_json):
            return
        assert old.config_json is not None  # a fenced one was read
        config_json = unfence(old.config_json, record.fence_json)
        lease = await leases.of(old.app, old.id)

        async def is_given_back() -> bool:
            return not is_fenced((await self.fly.machine(old.app, old.id)).config_json)

        await until_done(
            self.clock, is_given_back, lambda: self.fly.update_machine(lease, config_json, is_launched=False)
        )

    async def _keepsake(self, course: Course, record: RestoreRecord, volume_id: VolumeId) -> None:
        """Whoever goes back may still want what was written since; the snapshot outlives its volume."""
        volume = next((one for one in await self.fly.app_volumes(record.beginning.app) if one.id == volume_id), None)
        if volume is None:
            return
        run = course.work.run
        await course.work.journal.step("snapshot of the new volume, before it is removed", volume=volume_id)
        await self.safety(course, volume_id, run)

    async def _delete(self, record: RestoreRecord, volume_id: VolumeId, *, holder: MachineId | None) -> None:
        """Only where nobody else has it."""
        app = record.beginning.app
        volume = next((one for one in await self.fly.app_volumes(app) if one.id == volume_id), None)
        if volume is None:
            return
        other = volume.attached_machine_id if volume.attached_machine_id != holder else None
        if await self.machines.present(app, other) is not None:  # Fly notices late that a worker has gone
            raise RefusalError(
                f"volume {volume_id} is attached to machine {other}, which this restore did not make",
                hint="Find out who attached it before anything is removed.",
                facts={"app": app},
            )
        await self.volumes.delete(app, volume_id)

    @staticmethod
    def _refuse_lost(record: RestoreRecord, old: Machine | None) -> None:
        beginning = record.beginning
        facts = {"app": beginning.app, "machine": beginning.machine_id}
        if old is None and beginning.machine_id is not None:
            raise RefusalError("the old machine does not exist any more, so there is no way back", facts=facts)
        if old is not None and (is_sick(old) or old.config_json is None):
            raise RefusalError(
                "the old machine's host does not answer, so it cannot be started",
                hint="The application stays on the new volume. Try again when the host is back.",
                facts=facts,
            )

    @staticmethod
    def _refuse_needed(course: Course, record: RestoreRecord, old: Machine | None) -> None:
        """The old machine must not be the one that serves."""
        beginning, lineage = record.beginning, course.work.lineage
        if record.volume_id is None or lineage.volume_id == beginning.volume_id:
            raise RefusalError(
                f"{beginning.volume_id} is the volume that {lineage.label} is on now, so it is not removed",
                hint="See `flykeep status`, and who rebuilt the application.",
                facts={"app": beginning.app},
            )
        if old is not None and is_sick(old):
            raise RefusalError(
                "the old machine's host does not answer, so it cannot be removed",
                hint="Try again when the host is back; until then the restore stays as it is.",
                facts={"app": old.app, "machine": old.id},
            )
        if old is not None and old.state in {"started", "starting"}:
            raise RefusalError(
                f"the old machine {old.id} runs, so it is not removed",
                hint=f"Find out who started it; stop it with `fly machine stop {old.id} -a {old.app}`, then try again.",
                facts={"app": old.app},
            )


async def _never() -> bool:
    return False

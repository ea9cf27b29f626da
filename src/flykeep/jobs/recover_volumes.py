"""The volumes of a lost app, made again: from a snapshot that survived, else empty and filled from an artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.app_description import AppDescription
from flykeep.domain.candidates import CandidateKind
from flykeep.domain.errors import (
    FlyCapacityError,
    FlyPreconditionError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
    IntegrityError,
)
from flykeep.domain.fly import Volume
from flykeep.domain.ids import AppName, SnapshotId, VolumeId
from flykeep.domain.recover_plan import PlannedVolume, RecoverPlan, source_text
from flykeep.domain.recovery import RecoveredVolume
from flykeep.jobs.context import Journal
from flykeep.jobs.recover_log import (
    VOLUME_ASKED,
    VOLUME_DROPPED,
    VOLUME_DROPPING,
    VOLUME_MADE,
    VOLUME_READY,
    MadeVolume,
    RecoverProgress,
)
from flykeep.jobs.recover_planner import RecoverPlanner
from flykeep.ports.clock import Clock
from flykeep.ports.production import ProductionFly, ProductionVolume
from flykeep.ports.scratch import Guest
from flykeep.ports.worker import Progress

_LOOKS = 3
_LOOK_EVERY = timedelta(seconds=2)
_POLL_EVERY = timedelta(seconds=5)
_NEXT_BEST = "Run `flykeep artifact verify {}`: it marks a bad one, and the same command then takes the next best."


@dataclass(frozen=True, slots=True)
class VolumeLimits:
    """How long each wait may take: Fly restores for up to an hour, and learns late that a machine has gone."""

    usable: timedelta = timedelta(hours=1)
    release: timedelta = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class RecoverVolumes:
    """`regions` are tried after the lost volume's own where that one has no room."""

    production: ProductionFly
    planner: RecoverPlanner
    clock: Clock
    regions: tuple[str, ...]
    limits: VolumeLimits = VolumeLimits()

    async def make(
        self,
        journal: Journal,
        plan: RecoverPlan,
        planned: PlannedVolume,
        progress: RecoverProgress,
        *,
        identity: str | None,
        on_progress: Callable[[Progress], None],
    ) -> RecoveredVolume:
        """A volume with the planned contents, of this run or an earlier one; a half-filled one is removed first."""
        lost = planned.lost
        made = await self._settled(journal, plan, planned, progress)
        if made is not None and made.id is not None and made.is_filling and not made.is_ready:
            await self._drop(journal, plan.name, made.id, lost.id)
            made = None
        if made is None or made.id is None:
            volume = await self._ask(journal, plan, planned, progress)
        else:
            volume = await self.production.volume(plan.name, made.id)
        volume = await self._usable(volume)
        if made is None or not made.is_ready:
            if planned.is_from_artifact:
                await self._fill(journal, planned, volume, identity=identity, on_progress=on_progress)
            await journal.step(VOLUME_READY, of=lost.id, id=volume.id)
        return RecoveredVolume(lost.name, lost.id, volume.id, volume.region, source_text(planned))

    async def _settled(
        self, journal: Journal, plan: RecoverPlan, planned: PlannedVolume, progress: RecoverProgress
    ) -> MadeVolume | None:
        """What an earlier run made, looked for where nobody saw Fly's answer; None where there is nothing."""
        made = progress.volumes.get(planned.lost.id)
        if made is None or made.is_dropped:
            return None
        if made.id is None:
            found = await self._look(plan, planned, made.before, progress)
            if found is None:
                return None
            await journal.step(VOLUME_MADE, of=planned.lost.id, id=found.id)
            made.id = found.id
        return made

    async def _ask(
        self, journal: Journal, plan: RecoverPlan, planned: PlannedVolume, progress: RecoverProgress
    ) -> Volume:
        """Walk the regions; what Fly made without saying so is found by what was not there before."""
        lost = planned.lost
        refusal: FlyCapacityError | None = None
        for region in dict.fromkeys((lost.region, *self.regions)):
            before = frozenset(one.id for one in await self.production.app_volumes(plan.name))
            spec = _spec(plan, planned, region)
            await journal.step(
                VOLUME_ASKED,
                of=lost.id,
                name=lost.name,
                region=region,
                size_gb=planned.size_gb,
                source=source_text(planned),
                before=",".join(sorted(before)),
            )
            try:
                volume = await self.production.make_volume(spec)
            except FlyCapacityError as error:
                refusal = error
                await journal.step("no room", region=region, volume=lost.name)
                continue
            except (FlyUnavailableError, FlyUnexpectedAnswerError):
                found = await self._look(plan, planned, before, progress)
                if found is None:
                    raise
                volume = found
            await journal.step(VOLUME_MADE, of=lost.id, id=volume.id)
            progress.volumes[lost.id] = MadeVolume(before, volume.id)
            return volume
        assert refusal is not None  # there is at least one region
        raise refusal

    async def _look(
        self, plan: RecoverPlan, planned: PlannedVolume, before: frozenset[str], progress: RecoverProgress
    ) -> Volume | None:
        """The volume that was not there before and that this recovery made for no other one."""
        taken = {made.id for lost, made in progress.volumes.items() if lost != planned.lost.id}
        for look in range(_LOOKS):
            if look:
                await self.clock.sleep(_LOOK_EVERY)
            for one in await self.production.app_volumes(plan.name):
                if one.name == planned.lost.name and one.id not in before and one.id not in taken:
                    return one
        return None

    async def _drop(self, journal: Journal, app: AppName, volume_id: VolumeId, lost: VolumeId) -> None:
        """It is ours, it holds half of something, and nothing mounts it but perhaps a dead worker's machine."""
        await journal.step(VOLUME_DROPPING, of=lost, id=volume_id)
        started = self.clock.monotonic()
        while True:
            try:
                await self.production.delete_volume(app, volume_id)
            except FlyPreconditionError:
                if self.clock.monotonic() - started > self.limits.release.total_seconds():
                    raise
            else:
                break
            await self.clock.sleep(_POLL_EVERY)
        await journal.step(VOLUME_DROPPED, of=lost, id=volume_id)

    async def _usable(self, volume: Volume) -> Volume:
        started = self.clock.monotonic()
        while volume.state != "created":
            is_late = self.clock.monotonic() - started > self.limits.usable.total_seconds()
            if is_late or volume.is_leaving:
                raise FlyUnavailableError(
                    f"the volume is still {volume.state!r}", facts={"app": volume.app, "volume": volume.id}
                )
            await self.clock.sleep(_POLL_EVERY)
            volume = await self.production.volume(volume.app, volume.id)
        return volume

    async def _fill(
        self,
        journal: Journal,
        planned: PlannedVolume,
        volume: Volume,
        *,
        identity: str | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        artifact = await self.planner.artifact(planned, identity=identity)
        filler = self.planner.filler
        assert filler is not None  # `artifact` refuses without one
        try:
            report = await filler.fill(journal, volume, artifact, identity=identity, on_progress=on_progress)
        except IntegrityError as error:
            error.next_step = _NEXT_BEST.format(artifact.export_id)
            raise
        if not report.is_passed:
            raise IntegrityError(
                f"the volume filled from {artifact.export_id} is not to be used: {report.reason}",
                hint=_NEXT_BEST.format(artifact.export_id),
                facts={"volume": volume.id, "export_id": artifact.export_id},
            )


def _spec(plan: RecoverPlan, planned: PlannedVolume, region: str) -> ProductionVolume:
    """`compute` hints from the machine that is to mount it, so that its host has room for both."""
    lost, source = planned.lost, planned.source
    is_snapshot = source is not None and source.kind is CandidateKind.SNAPSHOT
    guest, image = _guest(plan.described, planned)
    return ProductionVolume(
        app=plan.name,
        name=lost.name,
        region=region,
        size_gb=planned.size_gb,
        snapshot_id=SnapshotId(source.id) if source is not None and is_snapshot else None,
        guest=guest,
        image=image,
        retention_days=lost.retention_days,
        is_automatic_snapshot_on=lost.is_automatic_snapshot_on is not False,
    )


def _guest(described: AppDescription, planned: PlannedVolume) -> tuple[Guest | None, str | None]:
    machine = next((one for one in described.machines if planned.lost.id in one.volume_ids), None)
    if machine is None:
        return None, None
    guest = json.loads(machine.config_json).get("guest") or {}
    kind, cpus, memory_mb = guest.get("cpu_kind"), guest.get("cpus"), guest.get("memory_mb")
    return (Guest(kind, cpus, memory_mb) if kind and cpus and memory_mb else None), machine.image or None

"""The new volume of a restore: made once, whatever answers are lost, and looked at before anything uses it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import (
    FlyCapacityError,
    FlyError,
    FlyNotFoundError,
    FlyPreconditionError,
    FlyUnavailableError,
    IntegrityError,
    RefusalError,
)
from flykeep.domain.fly import Volume
from flykeep.domain.ids import AppName, VolumeId
from flykeep.domain.restore_phases import (
    CONTENTS_GOOD,
    VOLUME_DROPPED,
    VOLUME_MADE,
    Asked,
    RestorePhase,
    may_be_asked_for,
)
from flykeep.jobs.context import TargetWork
from flykeep.jobs.filling import Filler
from flykeep.jobs.persistence import LOST, until_done
from flykeep.jobs.probing import ProbeReport
from flykeep.jobs.restore_log import Course
from flykeep.ports.clock import Clock
from flykeep.ports.production import ProductionFly, ProductionVolume
from flykeep.ports.scratch import Guest

_POLL_EVERY = timedelta(seconds=5)
_UNSURE_FOR = timedelta(minutes=2)
_VOLUME_LIMIT = timedelta(hours=1)
_DETACH_LIMIT = timedelta(minutes=5)
_USABLE = frozenset({"created", "hydrating"})
_TRIES = 2


class VolumeProber(Protocol):
    """Looks at a volume by a worker machine on it."""

    async def probe(self, work: TargetWork, volume: Volume, *, as_of: datetime) -> ProbeReport: ...


@dataclass(frozen=True, slots=True)
class VolumeShape:
    """What the new volume is for: where a machine of this size and image fits; settings of the old one."""

    guest: Guest
    image: str | None
    retention_days: int | None
    is_automatic_snapshot_on: bool


@dataclass(frozen=True, slots=True)
class NewVolume:
    """`prober` and `filler` None: no worker machine can be made."""

    fly: ProductionFly
    clock: Clock
    prober: VolumeProber | None
    filler: Filler | None

    async def ensure(self, course: Course, shape: VolumeShape) -> Volume:
        """The one volume of this restore. Raises FlyCapacityError where no region has room for it."""
        record = await course.record()
        beginning = record.beginning
        if record.volume_id is not None:
            return await self.fly.volume(beginning.app, record.volume_id)
        if record.volume is not None:
            found = await self.found(course, record.volume)
            if found is not None:
                return found
        refusal: FlyCapacityError | None = None
        for region in beginning.regions:
            try:
                return await self._made(course, region, shape)
            except FlyCapacityError as error:
                await course.note(VOLUME_DROPPED, region=region, error="no room")
                refusal = error
        assert refusal is not None  # there is at least one region
        refusal.next_step = "Nothing was changed. Name more regions in [scratch] regions, or try again later."
        raise refusal

    async def found(self, course: Course, asked: Asked) -> Volume | None:
        """The volume that was asked for when the answer was lost; None once it is sure that there is none.

        Raises RefusalError where two could be it: nobody guesses.
        """
        app = (await course.record()).beginning.app
        while True:
            new = [one for one in await self.fly.app_volumes(app) if may_be_asked_for(one, asked)]
            if len(new) > 1:
                names = " and ".join(sorted(one.id for one in new))
                raise RefusalError(
                    f"Fly did not say which volume it made, and {names} are both new and called {asked.name}",
                    hint="Remove the one that is not of this restore, then go on with `flykeep restore resume`.",
                    facts={"app": app},
                )
            if new:
                await course.note(VOLUME_MADE, id=new[0].id, found=1)
                return new[0]
            if self.clock.now() > asked.at + _UNSURE_FOR:
                return None
            await self.clock.sleep(_POLL_EVERY)

    async def _made(self, course: Course, region: str, shape: VolumeShape) -> Volume:
        for _ in range(_TRIES):
            beginning = (await course.record()).beginning
            before = [one.id for one in await self.fly.app_volumes(beginning.app) if one.name == beginning.volume_name]
            spec = ProductionVolume(
                app=beginning.app,
                name=beginning.volume_name,
                region=region,
                size_gb=beginning.size_gb,
                snapshot_id=beginning.snapshot_id,
                guest=shape.guest,
                image=shape.image,
                retention_days=shape.retention_days,
                is_automatic_snapshot_on=shape.is_automatic_snapshot_on,
            )
            asked = {"name": spec.name, "region": region, "before": " ".join(before)}
            await course.enter(RestorePhase.VOLUME, **asked, size_gb=spec.size_gb)
            try:
                volume = await self.fly.make_volume(spec)
            except LOST:
                intent = (await course.record()).volume
                assert intent is not None  # just journalled
                found = await self.found(course, intent)
                if found is not None:
                    return found
            except FlyCapacityError:
                raise
            except FlyError:
                await course.note(VOLUME_DROPPED, error="nothing was made")
                raise
            else:
                await course.note(VOLUME_MADE, id=volume.id)
                return volume
        await course.note(VOLUME_DROPPED, error="nothing was made")
        raise FlyUnavailableError("Fly did not answer, and made no volume", facts={"app": beginning.app})

    async def look(self, course: Course, volume: Volume, artifact: Artifact | None) -> Volume:
        """See that it holds what it must, or fill it; not done again where it was. Raises IntegrityError."""
        record = await course.record()
        if record.is_content_good:
            return volume
        await course.enter(RestorePhase.CONTENTS, volume=volume.id)
        report = await self._report(course, volume, artifact, record.beginning.as_of)
        if report is not None and report.reason is not None:
            raise IntegrityError(
                f"the new volume is not what it must be: {report.reason}",
                hint="The running machine was not touched. Choose another backup: `flykeep restore TARGET` lists them.",
                facts={"volume": volume.id},
            )
        await course.note(CONTENTS_GOOD, files=report.files if report else None)
        return volume

    async def _report(
        self, course: Course, volume: Volume, artifact: Artifact | None, as_of: datetime
    ) -> ProbeReport | None:
        work = course.work
        if artifact is not None:
            assert self.filler is not None  # a plan refuses artifacts without workers
            return await self.filler.fill(
                work.journal, volume, artifact, probes=work.rule.probes, on_progress=work.on_progress
            )
        if self.prober is not None:
            return await self.prober.probe(work, volume, as_of=as_of)
        await self._until_usable(volume)
        return None

    async def _until_usable(self, volume: Volume) -> None:
        started = self.clock.monotonic()
        while volume.state not in _USABLE:
            if volume.is_leaving or self.clock.monotonic() - started > _VOLUME_LIMIT.total_seconds():
                raise FlyUnavailableError(f"the new volume is still {volume.state!r}", facts={"volume": volume.id})
            await self.clock.sleep(_POLL_EVERY)
            volume = await self.fly.volume(volume.app, volume.id)

    async def drop(self, course: Course, volume: Volume) -> None:
        """One that was filled half-way must not be used, nor filled again."""
        await self.delete(volume.app, volume.id)
        await course.note(VOLUME_DROPPED, id=volume.id, error="it was filled half-way")

    async def delete(self, app: AppName, volume_id: VolumeId) -> None:
        """Fly notices late that a machine has gone, and refuses until then. Already gone is fine."""
        started = self.clock.monotonic()
        while True:
            try:
                await until_done(
                    self.clock,
                    lambda: self._is_gone(app, volume_id),
                    lambda: self.fly.delete_volume(app, volume_id),
                )
            except FlyPreconditionError:
                if self.clock.monotonic() - started > _DETACH_LIMIT.total_seconds():
                    raise
                await self.clock.sleep(_POLL_EVERY)
            else:
                return

    async def _is_gone(self, app: AppName, volume_id: VolumeId) -> bool:
        try:
            return (await self.fly.volume(app, volume_id)).is_leaving
        except FlyNotFoundError:
            return True

"""A volume that is cared for, in memory: its size, its snapshots, its files, the machine that is restarted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from flykeep.domain.errors import FlyError, FlyInvalidRequestError, FlyNotFoundError
from flykeep.domain.fly import SnapshotRequest, Volume, VolumeSnapshot
from flykeep.domain.ids import AppName, SnapshotId, VolumeId
from flykeep.domain.volume_care import VolumeAct
from flykeep.jobs.restarting import Restarter
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.jobs.volume_care import VolumeCare
from flykeep.jobs.volume_clean import VolumeCleaner
from flykeep.jobs.volume_extend import VolumeExtender
from flykeep.jobs.volume_retention import VolumeRetention
from flykeep.ports.cleaning import CleanOrder, CleanResult, Found, Kept
from flykeep.ports.volumes import Extension, SnapshotKeeping
from tests.integration.jobs.import_world import MemoryMachine
from tests.integration.jobs.parts import MemoryFly, Parts
from tests.unit.domain.builders import NOW, snapshot


@dataclass
class MemoryVolumes:
    """ports.volumes.VolumeKeeper of a MemoryFly's volume; `lost` is raised once, after the effect or before it."""

    fly: MemoryFly
    needs_restart: bool = False
    lost: FlyError | None = None
    is_lost_before: bool = False
    is_ignoring: bool = False
    calls: int = 0

    async def extend_volume(self, app: AppName, volume_id: VolumeId, *, size_gb: int) -> Extension:
        self.calls += 1
        volume = self._known(app, volume_id)
        if size_gb <= volume.size_gb:
            raise FlyInvalidRequestError("volumes never shrink")
        if self.lost is None or not self.is_lost_before:
            self.fly.the_volume = replace(volume, size_gb=size_gb)
        if self.lost is not None:
            error, self.lost = self.lost, None
            raise error
        return Extension(self.fly.the_volume, self.needs_restart)

    async def keep_snapshots(self, app: AppName, volume_id: VolumeId, keeping: SnapshotKeeping) -> Volume:
        volume = self._known(app, volume_id)
        days, is_on = keeping.retention_days, keeping.is_automatic_on
        if days is not None and not 1 <= days <= 60:
            raise FlyInvalidRequestError("1 to 60 days")
        if not self.is_ignoring:
            self.fly.the_volume = replace(
                volume,
                snapshot_retention_days=volume.snapshot_retention_days if days is None else days,
                is_automatic_snapshot_on=volume.is_automatic_snapshot_on if is_on is None else is_on,
            )
        return self.fly.the_volume

    def _known(self, app: AppName, volume_id: VolumeId) -> Volume:
        volume = self.fly.the_volume
        if (app, volume_id) != (volume.app, volume.id):
            raise FlyNotFoundError("no such volume")
        return volume


@dataclass
class MemoryCleaner:
    """ports.cleaning.Cleaners; keeps the orders, and finds one file per wish."""

    orders: list[CleanOrder] = field(default_factory=list)
    kept: tuple[Kept, ...] = ()
    troubles: tuple[str, ...] = ()
    oldest_s: int | None = 1_700_000_000

    async def clean(self, order: CleanOrder) -> CleanResult:
        self.orders.append(order)
        found = tuple(Found(wish.glob, 1, 10, self.oldest_s, self.oldest_s, ("a/\udcff",)) for wish in order.wishes)
        removed = len(found) - len(self.kept) if order.is_applied else 0
        return CleanResult(found, removed, 10 * removed, len(self.kept), self.kept, self.troubles)


class SnapshottingFly(MemoryFly):
    """A MemoryFly whose volume has snapshots; a requested one is done at once."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[VolumeSnapshot] = []
        self.requests = 0

    async def snapshots(self, _app: str, _volume_id: str) -> tuple[VolumeSnapshot, ...]:
        return tuple(self.rows)

    async def request_snapshot(self, _app: str, _volume_id: str) -> SnapshotRequest:
        self.requests += 1
        name = f"vs_new{self.requests}"
        self.rows.insert(0, snapshot(name, age=-timedelta(minutes=1)))
        return SnapshotRequest(SnapshotId(name), "prepare")


@dataclass
class VolumeParts:
    """The runs of kind `volume`, with their neighbours in memory."""

    parts: Parts
    fly: SnapshottingFly = field(default_factory=SnapshottingFly)
    machine: MemoryMachine = field(default_factory=MemoryMachine)
    cleaner: MemoryCleaner = field(default_factory=MemoryCleaner)

    def __post_init__(self) -> None:
        assert self.parts.clock.now() == NOW
        self.parts.fly = self.fly
        self.keeper = MemoryVolumes(self.fly)

    @property
    def job(self) -> VolumeCare:
        parts, fly, clock = self.parts, self.fly, self.parts.clock
        control: MemoryMachine = self.machine
        snapshots = SnapshotJob(fly, parts.catalog, clock)  # type: ignore[arg-type]  # only what the job calls
        hour = timedelta(hours=1)
        return VolumeCare(
            {
                VolumeAct.CLEAN: VolumeCleaner(fly, snapshots, fly, self.cleaner, clock, hour),  # type: ignore[arg-type]
                VolumeAct.EXTEND: VolumeExtender(fly, self.keeper, control, Restarter(control, clock), clock),  # type: ignore[arg-type]
                VolumeAct.RETENTION: VolumeRetention(fly, self.keeper),  # type: ignore[arg-type]
            }
        )

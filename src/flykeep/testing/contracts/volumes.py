"""What every `ports.volumes.VolumeKeeper` must do: run each of CHECKS against it and a volume it may change.

A check raises AssertionError where the promise is broken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flykeep.domain.errors import FlyInvalidRequestError, FlyNotFoundError
from flykeep.domain.ids import AppName, VolumeId
from flykeep.ports.volumes import SnapshotKeeping, VolumeKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVolume:
    """A volume of 1 GB whose extension says what `needs_restart` says."""

    app: AppName
    volume_id: VolumeId
    needs_restart: bool


Check = Callable[[VolumeKeeper, KnownVolume], Awaitable[None]]


async def grows_a_volume_and_says_whether_its_machine_must_restart(keeper: VolumeKeeper, known: KnownVolume) -> None:
    extension = await keeper.extend_volume(known.app, known.volume_id, size_gb=3)
    assert (extension.volume.id, extension.volume.size_gb) == (known.volume_id, 3)
    assert extension.needs_restart is known.needs_restart


async def never_shrinks_a_volume(keeper: VolumeKeeper, known: KnownVolume) -> None:
    await keeper.extend_volume(known.app, known.volume_id, size_gb=3)
    for size_gb in (2, 3):
        try:
            await keeper.extend_volume(known.app, known.volume_id, size_gb=size_gb)
        except FlyInvalidRequestError:
            continue
        raise AssertionError(f"took {size_gb} GB for a volume of 3 GB")


async def changes_only_what_is_asked_of_snapshots(keeper: VolumeKeeper, known: KnownVolume) -> None:
    async def changed(keeping: SnapshotKeeping) -> tuple[int | None, bool | None]:
        volume = await keeper.keep_snapshots(known.app, known.volume_id, keeping)
        return volume.snapshot_retention_days, volume.is_automatic_snapshot_on

    assert await changed(SnapshotKeeping(retention_days=14, is_automatic_on=True)) == (14, True)
    assert await changed(SnapshotKeeping(is_automatic_on=False)) == (14, False)
    assert await changed(SnapshotKeeping(retention_days=60)) == (60, False)


async def refuses_days_that_fly_does_not_offer(keeper: VolumeKeeper, known: KnownVolume) -> None:
    try:
        await keeper.keep_snapshots(known.app, known.volume_id, SnapshotKeeping(retention_days=61))
    except FlyInvalidRequestError:
        return
    raise AssertionError("took 61 days")


async def says_not_found_for_a_volume_that_is_not_there(keeper: VolumeKeeper, known: KnownVolume) -> None:
    absent = VolumeId("vol_00000000000000000")
    for call in (
        keeper.extend_volume(known.app, absent, size_gb=3),
        keeper.keep_snapshots(known.app, absent, SnapshotKeeping(retention_days=7)),
    ):
        try:
            result: object = await call
        except FlyNotFoundError:
            continue
        raise AssertionError(f"answered {result!r} instead of refusing")


CHECKS: tuple[Check, ...] = (
    grows_a_volume_and_says_whether_its_machine_must_restart,
    never_shrinks_a_volume,
    changes_only_what_is_asked_of_snapshots,
    refuses_days_that_fly_does_not_offer,
    says_not_found_for_a_volume_that_is_not_there,
)

"""What the care of a volume needs of Fly: more room, and how long snapshots are kept. Errors: the `fly.*` family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from flykeep.domain.fly import Volume
from flykeep.domain.ids import AppName, VolumeId


@dataclass(frozen=True, slots=True)
class Extension:
    """A volume that has grown; its machine may see the room only after a restart."""

    volume: Volume
    needs_restart: bool


@dataclass(frozen=True, slots=True)
class SnapshotKeeping:
    """What to change of how Fly snapshots a volume; None leaves a part as it is."""

    retention_days: int | None = None
    is_automatic_on: bool | None = None


class VolumeKeeper(Protocol):
    async def extend_volume(self, app: AppName, volume_id: VolumeId, *, size_gb: int) -> Extension:
        """Grow it to `size_gb`. Sent once: with FlyUnavailableError it may have grown, so look.

        Raises FlyInvalidRequestError for a size that is not above the present one.
        """
        ...

    async def keep_snapshots(self, app: AppName, volume_id: VolumeId, keeping: SnapshotKeeping) -> Volume:
        """Change it for snapshots taken from now on; those that exist keep the days they were made with."""
        ...

"""More room for volumes, and their snapshots' days: the port `ports.volumes.VolumeKeeper` over HTTP."""

from __future__ import annotations

from flykeep.adapters.fly import facts
from flykeep.adapters.fly.client import FlyClient
from flykeep.adapters.fly.http import Repeat
from flykeep.adapters.fly.wire import WireExtension, WireVolume
from flykeep.domain.fly import Volume
from flykeep.domain.ids import AppName, VolumeId
from flykeep.ports.volumes import Extension, SnapshotKeeping


class FlyVolumes:
    """Acts through a FlyClient's connections, at its pace."""

    def __init__(self, fly: FlyClient) -> None:
        self._api = fly.api

    async def extend_volume(self, app: AppName, volume_id: VolumeId, *, size_gb: int) -> Extension:
        """As the port says."""
        request = self._api.put(
            *("apps", app, "volumes", volume_id, "extend"),
            action="volume.extend",
            identifier=app,
            repeat=Repeat.NEVER,
            body={"size_gb": size_gb},
            facts={"app": app, "volume": volume_id},
        )
        answer = await self._api.read(request, WireExtension)
        return Extension(facts.volume_of(answer.volume, app=app), answer.needs_restart)

    async def keep_snapshots(self, app: AppName, volume_id: VolumeId, keeping: SnapshotKeeping) -> Volume:
        """As the port says; setting the same twice changes nothing, so it may be sent again."""
        wanted = {"snapshot_retention": keeping.retention_days, "auto_backup_enabled": keeping.is_automatic_on}
        request = self._api.put(
            *("apps", app, "volumes", volume_id),
            action="volume.update",
            identifier=app,
            repeat=Repeat.HARMLESS,
            body={key: value for key, value in wanted.items() if value is not None},
            facts={"app": app, "volume": volume_id},
        )
        return facts.volume_of(await self._api.read(request, WireVolume), app=app)

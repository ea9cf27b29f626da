"""Looks at both apps and plans a copy; nothing is changed by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import FlyError, FlyInvalidRequestError, FlyNotFoundError, NotFoundError, RefusalError
from flykeep.domain.fly import Machine, Volume, VolumeSnapshot
from flykeep.domain.ids import AppName, ExportId, SnapshotId, VolumeId
from flykeep.domain.restore_copy import CopyFacts, CopyPlan, CopySource, artifact_source, plan_copy, snapshot_source
from flykeep.domain.run import RunRequest
from flykeep.domain.target import Lineage
from flykeep.jobs.filling import Filler
from flykeep.ports.catalog import Catalog
from flykeep.ports.fly import InventoryReader, SnapshotReader
from flykeep.ports.production import ProductionFly


class CopyFly(InventoryReader, SnapshotReader, Protocol):
    """What planning reads of the source."""


@dataclass(frozen=True, slots=True)
class Planned:
    """`artifact` is the copy to fill from, None where a snapshot is taken."""

    plan: CopyPlan
    artifact: Artifact | None


@dataclass(frozen=True, slots=True)
class CopyPlanner:
    """`filler` None means that no worker machine can be made."""

    fly: CopyFly
    there: ProductionFly
    catalog: Catalog
    filler: Filler | None

    async def plan(self, lineage: Lineage, request: RunRequest) -> Planned:
        """Raises RefusalError, NotFoundError, ConfigError or FlyError before anything is made."""
        if request.to_app is None:
            raise RefusalError("this restore names no other app", hint="Give --to APP.")
        app = request.to_app
        others, volumes = await self._there(app)
        live = await self._live(lineage)
        artifact = await self._artifact(ExportId(request.export_id)) if request.export_id else None
        config_json, image, name = await self._config(lineage) if request.is_with_config else (None, None, None)
        facts = CopyFacts(
            lineage=lineage,
            app=app,
            source=artifact_source(artifact) if artifact else await self._snapshot(lineage, request, live),
            live=live,
            config_json=config_json,
            image=image,
            machine_name=name,
            others=others,
            volumes=volumes,
            has_workers=self.filler is not None,
        )
        wanted = request.is_with_config, request.is_launching
        plan = plan_copy(facts, size_gb=request.size_gb, is_with_config=wanted[0], is_launched=wanted[1])
        return Planned(plan, artifact)

    async def _there(self, app: AppName) -> tuple[tuple[Machine, ...], tuple[Volume, ...]]:
        try:
            return await self.there.machines(app), await self.there.app_volumes(app)
        except FlyNotFoundError as error:
            raise RefusalError(
                f"there is no app {app}", hint=f"Create it first: `fly apps create {app}`.", facts={"app": app}
            ) from error

    async def _live(self, lineage: Lineage) -> Volume | None:
        """The source's volume, where it still exists: a copy needs its backup only."""
        try:
            return await self.fly.volume(lineage.app, lineage.volume_id)
        except FlyError:
            return None

    async def _artifact(self, export_id: ExportId) -> Artifact:
        """A copy of it that a worker machine can read; its identity is looked for now, and not half-way."""
        async with self.catalog.transaction() as tx:
            copies = await tx.artifact(export_id)
        if not copies:
            raise NotFoundError(f"there is no artifact {export_id}", hint="`flykeep artifacts` lists them.")
        if self.filler is None:
            return copies[0]
        sound = [one for one in copies if not one.is_failed and one.leaving_at is None] or copies
        visible = [one for one in sound if one.store in self.filler.prober.keys.visible]
        self.filler.opened_by((visible or sound)[0])
        return (visible or sound)[0]

    async def _snapshot(self, lineage: Lineage, request: RunRequest, live: Volume | None) -> CopySource:
        wanted = SnapshotId(request.snapshot_id or "")
        region = live.region if live else await self._region(lineage)
        for volume_id in reversed(lineage.volume_ids):
            for row in await self._rows(lineage, volume_id):
                if row.id == wanted:
                    return snapshot_source(row, region=region)
        async with self.catalog.transaction() as tx:
            known = await tx.recorded_snapshot(wanted)
        if known is None or known.lineage_id != lineage.id:
            raise NotFoundError(
                f"{lineage.label} has no snapshot {wanted}", hint="`flykeep restore TARGET` lists what there is."
            )
        return snapshot_source(known.snapshot, region=region)

    async def _rows(self, lineage: Lineage, volume_id: VolumeId) -> tuple[VolumeSnapshot, ...]:
        try:
            return await self.fly.snapshots(lineage.app, volume_id)
        except (FlyNotFoundError, FlyInvalidRequestError):  # a vanished volume answers 404, 400 or 422
            return ()

    async def _region(self, lineage: Lineage) -> str:
        """Where the newest artifact says that the volume was."""
        async with self.catalog.transaction() as tx:
            artifacts = await tx.artifacts(lineage.id)
        if not artifacts:
            raise RefusalError(
                "Fly does not say in which region the snapshot's volume was",
                hint="Wait until Fly answers for the source app, or copy an artifact.",
            )
        return artifacts[0].manifest.origin.region

    async def _config(self, lineage: Lineage) -> tuple[str | None, str | None, str | None]:
        """The machine's complete configuration as it is, else as it was saved last; its image, and its name."""
        async with self.catalog.transaction() as tx:
            saved = await tx.machine_config(lineage.id)
        try:
            machine = await self.fly.machine(lineage.app, lineage.machine_id) if lineage.machine_id else None
        except FlyError:
            machine = None
        if machine is None or machine.config_json is None:
            return saved, None, lineage.machine_name
        return machine.config_json, machine.image, machine.name

"""Gathers what is known of a lost app, from the catalog or else from the stores, and plans its rebuilding."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from flykeep.domain.app_description import AppDescription, DescribedVolume
from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import ConfigError, FlyForbiddenError, FlyNotFoundError, NotFoundError, RefusalError
from flykeep.domain.fly import GONE_MACHINE_STATES
from flykeep.domain.ids import AppName, ExportId, VolumeId
from flykeep.domain.recover_plan import (
    PlannedVolume,
    RecoverFacts,
    RecoverPlan,
    RecoverWish,
    Standing,
    VolumeBackup,
    plan_recovery,
)
from flykeep.domain.scratch import room_gb
from flykeep.domain.target import Lineage
from flykeep.jobs.candidates import CandidateReader
from flykeep.jobs.filling import Filler
from flykeep.jobs.rebuild import Progress, RebuildJob, RebuildReport
from flykeep.jobs.recover_log import RecoverLog
from flykeep.ports.apps import AppReader
from flykeep.ports.catalog import Catalog
from flykeep.ports.production import ProductionFly


def _silent(_store: str, _read: int, _every: int) -> None:
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class RecoverPlanner:
    """Changes nothing at Fly. `stores` are read where the catalog does not know the app."""

    apps: AppReader
    production: ProductionFly
    catalog: Catalog
    candidates: CandidateReader
    rebuild: RebuildJob
    stores: tuple[str, ...]
    filler: Filler | None
    log: RecoverLog
    on_progress: Progress = field(default=_silent)

    async def plan(self, wish: RecoverWish, *, identity: str | None) -> RecoverPlan:
        """Raises NotFoundError where neither the catalog nor any store describes the app."""
        described = await self._described(wish.app, identity)
        progress = await self.log.progress(wish.app, wish.name)
        facts = RecoverFacts(
            described=described,
            standing={name: await self._standing(name) for name in {wish.app, wish.name}},
            backups={volume.id: await self._backup(described, volume) for volume in described.volumes},
            is_begun=progress.is_begun,
        )
        plan = plan_recovery(wish, facts)
        is_done = {lost for lost, made in progress.volumes.items() if made.is_ready}
        return await self._checked(plan, is_done, identity=identity)

    async def artifact(self, planned: PlannedVolume, *, identity: str | None) -> Artifact:
        """The copy that a worker machine can see and open; asks no store. Raises RefusalError or ConfigError."""
        assert planned.source is not None
        if self.filler is None:
            raise RefusalError(
                "no [worker] image is configured for the machine that fills the volume",
                hint="Set [worker] image: see docs/how-to/recover-a-lost-app.md.",
            )
        async with self.catalog.transaction() as tx:
            copies = await tx.artifact(ExportId(planned.source.id))
        failure: RefusalError | ConfigError | None = None
        for copy in copies:
            if copy.is_failed or copy.leaving_at is not None or copy.store not in self.stores:
                continue
            try:
                self.filler.opened_by(copy, identity=identity)
            except (RefusalError, ConfigError) as error:
                failure = error
            else:
                return copy
        raise failure or RefusalError(f"no configured store holds artifact {planned.source.id}")

    async def _checked(self, plan: RecoverPlan, done: set[VolumeId], *, identity: str | None) -> RecoverPlan:
        """The plan with a refusal for each volume that could not be filled, and room in each that can."""
        found: list[str] = []
        volumes: list[PlannedVolume] = []
        hint = plan.hint
        for volume in plan.volumes:
            least_gb = volume.least_gb
            if volume.is_from_artifact and volume.lost.id not in done:
                try:
                    totals = (await self.artifact(volume, identity=identity)).manifest.totals
                    least_gb = room_gb(content_bytes=totals.content_bytes, entries=totals.entries)
                except (RefusalError, ConfigError) as error:
                    found.append(f"volume {volume.lost.name} cannot be filled: {error.message}")
                    hint = hint or error.next_step
            volumes.append(replace(volume, least_gb=least_gb))
        return replace(plan, volumes=tuple(volumes), refusals=(*plan.refusals, *found), hint=hint)

    async def _described(self, app: AppName, identity: str | None) -> AppDescription:
        found = await self._known(app)
        if found is not None:
            return found
        report = await self.rebuild.rebuild(self.stores, identity=identity, on_progress=self.on_progress)
        found = await self._known(app)
        if found is None:
            raise NotFoundError(
                f"nothing that is kept describes {app}: {_why(report)}",
                hint="Name the identity with --identity, and put the old daemon's keys or its public key in place.",
            )
        return found

    async def _known(self, app: AppName) -> AppDescription | None:
        async with self.catalog.transaction() as tx:
            saved = await tx.description(app)
        return saved.description if saved else None

    async def _standing(self, app: AppName) -> Standing:
        try:
            await self.apps.app(app)
        except FlyNotFoundError:
            return Standing.ABSENT
        except FlyForbiddenError:
            return Standing.FOREIGN
        machines = [one for one in await self.production.machines(app) if one.state not in GONE_MACHINE_STATES]
        return Standing.ALIVE if machines or await self.production.app_volumes(app) else Standing.EMPTY

    async def _backup(self, described: AppDescription, volume: DescribedVolume) -> VolumeBackup:
        async with self.catalog.transaction() as tx:
            lineages = [one for one in await tx.lineages(include_retired=True) if one.app == described.app]
        lineage = _lineage_of(volume, lineages)
        if lineage is None:
            return VolumeBackup(None)
        return VolumeBackup(lineage.id, (await self.candidates.read(lineage)).candidates)


def _lineage_of(volume: DescribedVolume, lineages: list[Lineage]) -> Lineage | None:
    """By the volume's id first; a description may be older or younger than what is known of the lineage."""
    by_id = [one for one in lineages if volume.id in one.volume_ids]
    named = [one for one in lineages if one.volume_name == volume.name]
    by_machine = [one for one in named if volume.machine_id is not None and one.machine_id == volume.machine_id]
    for found in (by_id, by_machine, named):
        if len(found) == 1:
            return found[0]
    return None


def _why(report: RebuildReport) -> str:
    return "; ".join(f"{one.store}: {one.failure or f'state document {one.state}'}" for one in report.stores)

"""Look at the live volume before anything is restored: its probes, its use, and what a restore would change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.artifact import Artifact
from flykeep.domain.drill import reference_artifact
from flykeep.domain.errors import FlyInvalidRequestError, FlyNotFoundError, NotFoundError
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.ids import ExportId
from flykeep.domain.inspection import ProbeState, machine_to_inspect
from flykeep.domain.lineages import LineagePlan
from flykeep.domain.plans import mount_directory
from flykeep.domain.policy import TargetRule
from flykeep.domain.target import Lineage
from flykeep.jobs.authentic import ArtifactStores
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock, IdSource
from flykeep.ports.crypto import IndexKey
from flykeep.ports.fly import AccessIssuer, InventoryReader
from flykeep.ports.inspecting import InspectOrder, Inspectors, InspectResult
from flykeep.ports.worker import IndexReference, Progress

DIGEST_BYTES = 2 << 30
"""So much of files that differ by their date only is read and hashed on the machine without being asked for."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen, where, and beside which artifact; None where there is none to compare with."""

    machine: Machine
    volume: Volume
    directory: str
    artifact: Artifact | None
    result: InspectResult

    @property
    def is_healthy(self) -> bool:
        """No probe failed; those that could not be asked say nothing."""
        return all(probe.state is not ProbeState.FAILED for probe in self.result.probes)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks of an inspection; `export_id` None means the newest artifact that counts as a backup."""

    export_id: ExportId | None = None
    is_digesting: bool = False
    names: int = 20


@dataclass(frozen=True, slots=True)
class InspectJob:
    """Reads only, at Fly, on the machine and in the stores; it is no run and leaves no trace."""

    fly: InventoryReader
    access: AccessIssuer
    inspectors: Inspectors
    catalog: Catalog
    artifacts: ArtifactStores
    index_key: IndexKey
    identity: Callable[[], str | None]
    clock: Clock
    ids: IdSource
    refresh: Callable[[], Awaitable[LineagePlan]]
    deadline: timedelta
    stall_timeout: timedelta

    async def inspect(
        self, lineage: Lineage, rule: TargetRule, wish: Wish, *, on_progress: Callable[[Progress], None]
    ) -> Inspection:
        """Raises RefusalError where no started machine has the volume, SshError where nobody can log in."""
        volume = await self._volume(lineage)
        attached = volume.attached_machine_id
        machine = machine_to_inspect(volume, await self.fly.machine(volume.app, attached) if attached else None)
        directory = mount_directory(rule, volume=volume, machine=machine)
        artifact = await self._artifact(lineage, wish.export_id)
        order = InspectOrder(
            token=self.ids.token(),
            access=await self.access.access(machine),
            directory=directory,
            as_of_s=self.clock.now().timestamp(),
            probes=rule.probes,
            reference=self._reference(artifact) if artifact else None,
            is_digesting=wish.is_digesting,
            digest_bytes=DIGEST_BYTES,
            names=wish.names,
            deadline_s=self.deadline.total_seconds(),
            stall_timeout_s=self.stall_timeout.total_seconds(),
        )
        result = await self.inspectors.inspect(order, on_progress=on_progress)
        return Inspection(machine, volume, directory, artifact, result)

    async def _volume(self, lineage: Lineage) -> Volume:
        """Where the lineage's volume is now: Fly may have moved it since the last check."""
        try:
            volume = await self.fly.volume(lineage.app, lineage.volume_id)
            if not volume.is_leaving:
                return volume
        except (FlyNotFoundError, FlyInvalidRequestError):  # a vanished volume answers 404, 400 or 422
            volume = None
        for state in (await self.refresh()).current:
            if state.lineage.id == lineage.id:
                return state.volume
        if volume is not None:
            return volume
        raise NotFoundError(
            f"volume {lineage.volume_id} does not exist any more",
            hint=f"`flykeep restore {lineage.label}` lists what can be restored.",
            facts={"app": lineage.app, "volume": lineage.volume_id},
        )

    async def _artifact(self, lineage: Lineage, export_id: ExportId | None) -> Artifact | None:
        """Raises IntegrityError where its manifest in the store is not the signed one that was recorded."""
        async with self.catalog.transaction() as tx:
            copies = await tx.artifact(export_id) if export_id else await tx.artifacts(lineage.id)
        here = [copy for copy in copies if copy.store in self.artifacts.stores and copy.leaving_at is None]
        if export_id is None:
            chosen = reference_artifact(here, stores=self.artifacts.stores)
        elif here:
            chosen = min(here, key=lambda copy: copy.is_failed)
        else:
            raise NotFoundError(f"no configured store has an artifact {export_id}", hint="See `flykeep artifacts`.")
        if chosen is not None:
            await self.artifacts.authentic(chosen)
        return chosen

    def _reference(self, artifact: Artifact) -> IndexReference:
        manifest = artifact.manifest
        is_encrypted = manifest.encryption == "age"
        keys = "\n".join(key for key in (self.index_key.identity(), self.identity()) if key)
        return IndexReference(
            store=self.artifacts.of(artifact).order,
            index=manifest.index,
            identity=keys if is_encrypted else None,
            is_encrypted=is_encrypted,
            artifact_at_s=manifest.started_at.timestamp(),
            include=manifest.origin.paths,
            exclude=manifest.origin.excluded,
        )

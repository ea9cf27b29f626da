"""Looks up what an import needs to know, and decides."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.domain.errors import UsageError
from flykeep.domain.ids import ExportId
from flykeep.domain.import_plan import ImportFacts, ImportPlan, plan_import, running_machine
from flykeep.domain.plans import mount_directory
from flykeep.domain.policy import TargetRule
from flykeep.domain.run import RunRequest
from flykeep.domain.target import Lineage
from flykeep.jobs.import_artifacts import ArtifactReader
from flykeep.jobs.import_log import ImportLog
from flykeep.jobs.import_moving import Location
from flykeep.ports.fly import InventoryReader, MachineController


@dataclass(frozen=True, slots=True)
class ImportPlanner:
    """Reads only."""

    fly: InventoryReader
    control: MachineController
    artifacts: ArtifactReader
    log: ImportLog

    async def plan(self, lineage: Lineage, rule: TargetRule, request: RunRequest) -> ImportPlan:
        """What an import would do now. Raises RefusalError where it would be refused; nothing is changed."""
        if (request.file is None) == (request.export_id is None):
            raise UsageError("an import takes a file or an artifact", hint="Name a FILE, or --artifact ID.")
        volume = await self.fly.volume(lineage.app, lineage.volume_id)
        attached = volume.attached_machine_id
        machine = await self.fly.machine(volume.app, attached) if attached else None
        holder = await self.control.lease_holder(machine.app, machine.id) if machine else None
        artifact = await self.artifacts.find(ExportId(request.export_id)) if request.export_id else None
        kept = await self.log.records(lineage.id)
        return plan_import(rule, request, ImportFacts(volume, machine, holder, artifact, kept))

    async def locate(self, lineage: Lineage, rule: TargetRule) -> Location:
        """Where the target's files are now. Raises RefusalError where no running machine has them."""
        volume = await self.fly.volume(lineage.app, lineage.volume_id)
        attached = volume.attached_machine_id
        machine = running_machine(volume, await self.fly.machine(volume.app, attached) if attached else None)
        return Location(machine, mount_directory(rule, volume=volume, machine=machine))

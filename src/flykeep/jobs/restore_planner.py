"""Looks up what a restore needs to know, and decides."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import FlyInvalidRequestError, FlyNotFoundError, NotFoundError, RefusalError, UsageError
from flykeep.domain.fly import HostStatus, Machine, Volume
from flykeep.domain.ids import AppName, ExportId, MachineId, SnapshotId, VolumeId
from flykeep.domain.policy import JobKind
from flykeep.domain.restore_config import pinned
from flykeep.domain.restore_plan import RestoreFacts, RestorePlan, RestoreSource, plan_restore
from flykeep.domain.run import RunRequest
from flykeep.domain.target import Lineage
from flykeep.jobs.filling import Filler
from flykeep.jobs.restore_log import RestoreLog
from flykeep.ports.catalog import Transaction
from flykeep.ports.fly import SnapshotReader
from flykeep.ports.production import ProductionFly

_GONE = (FlyNotFoundError, FlyInvalidRequestError)  # a vanished volume answers 404, 400 or 422
_PROOFS = 20


@dataclass(frozen=True, slots=True)
class RestorePlanner:
    """Reads only. `filler` None: no worker machine can be made."""

    fly: ProductionFly
    snapshots: SnapshotReader
    log: RestoreLog
    filler: Filler | None
    spare_regions: tuple[str, ...] = ()

    async def plan(self, lineage: Lineage, request: RunRequest) -> RestorePlan:
        """What a restore would do now. Raises RefusalError where it would be refused; nothing is changed."""
        if (request.snapshot_id is None) == (request.export_id is None):
            raise UsageError(
                "a restore takes a snapshot or an artifact", hint="Give --snapshot ID|latest|TIME, or --artifact ID."
            )
        return plan_restore(await self._facts(lineage, request), size_gb=request.size_gb)

    async def _facts(self, lineage: Lineage, request: RunRequest) -> RestoreFacts:
        machine, volume = await self._present(lineage)
        source = await self._source(lineage, request, volume)
        holder, config_json = None, None
        if machine is not None and machine.config_json is not None:
            holder = await self.fly.lease_holder(machine.app, machine.id)
            config_json = pinned(machine.config_json, machine.image)
        everyone = await self.fly.machines(lineage.app)
        async with self.log.catalog.transaction() as tx:
            saved = await tx.machine_config(lineage.id)
            took = await _restore_took(tx, lineage, "artifact" if source.artifact else "snapshot")
            down = await _down_for(tx, lineage)
        return RestoreFacts(
            lineage=lineage,
            source=source,
            volume=volume,
            machine=machine,
            config_json=config_json or saved,
            is_config_saved=config_json is None,
            lease_holder=holder,
            others=tuple(one for one in everyone if machine is None or one.id != machine.id),
            volumes=await self.fly.app_volumes(lineage.app),
            unsettled=await self.log.records(lineage.id),
            has_workers=self.filler is not None,
            spare_regions=self.spare_regions,
            restore_took=took,
            down_for=down,
        )

    async def config(self, lineage: Lineage, machine: Machine | None) -> str:
        """The complete configuration the new machine is made from: Fly's, else the one a check saved last."""
        if machine is not None and machine.config_json is not None:
            return pinned(machine.config_json, machine.image)
        async with self.log.catalog.transaction() as tx:
            saved = await tx.machine_config(lineage.id)
        if saved is None:
            raise RefusalError(
                "no complete configuration of the target's machine is known any more",
                hint="Let `flykeep check` see the machine on a healthy host, then `flykeep restore resume`.",
            )
        return saved

    async def artifact(self, export_id: ExportId) -> Artifact:
        """The copy that a worker machine would read; the identity that opens it is looked for."""
        async with self.log.catalog.transaction() as tx:
            copies = await tx.artifact(export_id)
        if not copies:
            raise NotFoundError(f"there is no artifact {export_id}", hint="`flykeep artifacts` lists them.")
        if self.filler is None:
            return copies[0]
        sound = [one for one in copies if not one.is_failed and one.leaving_at is None] or list(copies)
        visible = [one for one in sound if one.store in self.filler.prober.keys.visible]
        self.filler.opened_by((visible or sound)[0])
        return (visible or sound)[0]

    async def _present(self, lineage: Lineage) -> tuple[Machine | None, Volume | None]:
        """The machine and its volume as they are now: Fly gives a moved machine's volume another id."""
        volume = await self._volume(lineage.app, lineage.volume_id)
        holder = (volume.attached_machine_id if volume else None) or lineage.machine_id
        machine = await self._machine(lineage.app, holder)
        mounted = machine.mounts[0].volume_id if machine and machine.mounts else None
        if machine is not None and mounted is not None and (volume is None or mounted != volume.id):
            other = await self._volume(lineage.app, mounted)
            if other is None or other.name != lineage.volume_name:
                return None, volume
            volume = other
        return machine, volume

    async def _machine(self, app: AppName, machine_id: MachineId | None) -> Machine | None:
        if machine_id is None:
            return None
        try:
            machine = await self.fly.machine(app, machine_id)
        except FlyNotFoundError:
            return None
        if machine.state in {"destroying", "destroyed"}:
            return None
        if machine.config_json is None and machine.host_status is not HostStatus.UNREACHABLE:
            raise RefusalError(
                f"Fly does not say how machine {machine_id} is: its host is {machine.host_status}",
                hint="Try again in a minute.",
                facts={"app": app, "machine": machine_id},
            )
        return machine

    async def _volume(self, app: AppName, volume_id: VolumeId) -> Volume | None:
        try:
            volume = await self.fly.volume(app, volume_id)
        except _GONE:
            return None
        return None if volume.is_leaving else volume

    async def _source(self, lineage: Lineage, request: RunRequest, volume: Volume | None) -> RestoreSource:
        if request.export_id is not None:
            return RestoreSource(artifact=await self.artifact(ExportId(request.export_id)))
        wanted = SnapshotId(request.snapshot_id or "")
        known = dict.fromkeys([volume.id] if volume else [])
        for volume_id in (*known, *reversed(lineage.volume_ids)):
            try:
                rows = await self.snapshots.snapshots(lineage.app, volume_id)
            except _GONE:
                continue
            for row in rows:
                if row.id == wanted:
                    return RestoreSource(snapshot=row, owner=lineage.id)
        async with self.log.catalog.transaction() as tx:
            recorded = await tx.recorded_snapshot(wanted)
        if recorded is None:
            raise NotFoundError(
                f"{lineage.label} has no snapshot {wanted}", hint="`flykeep restore TARGET` lists what there is."
            )
        return RestoreSource(snapshot=recorded.snapshot, owner=recorded.lineage_id)


async def _restore_took(tx: Transaction, lineage: Lineage, kind: str) -> timedelta | None:
    proofs = await tx.proofs(lineage.id, is_passed=True, limit=_PROOFS)
    return next((one.proof.restore_took for one in proofs if one.proof.source.kind == kind), None)


async def _down_for(tx: Transaction, lineage: Lineage) -> timedelta | None:
    for run in await tx.runs(lineage_id=lineage.id, kind=JobKind.RESTORE, is_open=False, limit=_PROOFS):
        result = json.loads(run.outcome.result_json) if run.outcome else {}
        if result.get("down_s") is not None:
            return timedelta(seconds=float(result["down_s"]))
    return None

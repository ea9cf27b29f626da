"""The `snapshot` source of exports: which snapshot is read, and by whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from flykeep.domain.fly import Volume, VolumeSnapshot
from flykeep.domain.plans import SNAPSHOT_MOUNT, SourceFacts
from flykeep.domain.scratch import ScratchRule, freshest, plan_scratch
from flykeep.jobs.context import TargetWork
from flykeep.jobs.scratch import Errand, Scratch
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.machine_worker import MachineWorkers
from flykeep.ports.worker import ExportOrder, ExportResult

_MAX_AGE = timedelta(hours=26)  # where the policy judges none: Fly takes one a day, and a little late
_MARGIN_S = 900.0  # for starting, handing in and the last report


@dataclass(frozen=True, slots=True)
class SnapshotSource:
    """Reads a volume's snapshot without a request to the app the volume belongs to, unless one must be taken."""

    snapshots: SnapshotJob
    scratch: Scratch
    workers: MachineWorkers
    rule: ScratchRule
    catalog: Catalog
    clock: Clock
    hidden_stores: frozenset[str] = frozenset()  # folders that a worker machine does not have

    async def facts(self, work: TargetWork, volume: Volume) -> SourceFacts:
        """What can be known before anything is asked of Fly."""
        obstacle = self._hidden(work)
        if volume.size_gb > self.rule.max_volume_gb:
            obstacle = f"the volume has {volume.size_gb} GB, and [scratch] max_volume_gb is {self.rule.max_volume_gb}"
        async with self.catalog.transaction() as tx:
            artifacts = await tx.artifacts(work.lineage.id)
        live = [one.manifest for one in artifacts if one.manifest.origin.source == "ssh"]
        last = max(live, key=lambda manifest: manifest.started_at, default=None)
        return SourceFacts(True, obstacle, last.open_databases if last else ())

    def _hidden(self, work: TargetWork) -> str | None:
        hidden = [copy.store for copy in work.rule.policy.copies if copy.store in self.hidden_stores]
        if not hidden:
            return None
        return f"store {hidden[0]!r} is a folder that a worker machine does not have (visible_to_workers is false)"

    async def choose(self, work: TargetWork, volume: Volume) -> VolumeSnapshot:
        """The newest finished snapshot, or one taken now where that is older than the policy allows."""
        max_age = work.rule.policy.snapshot.max_age or _MAX_AGE
        listed = await self.snapshots.fly.snapshots(volume.app, volume.id)
        chosen = freshest(listed, now=self.clock.now(), max_age=max_age)
        if chosen is None:
            await work.journal.step("no snapshot is young enough, take one")
            chosen = (await self.snapshots.take(work, volume)).snapshot
        assert chosen is not None  # what was taken is finished, and a finished snapshot has an instant
        assert chosen.created_at is not None
        await work.journal.step("snapshot chosen", snapshot=chosen.id, created_at=chosen.created_at.isoformat())
        return chosen

    async def export(
        self, work: TargetWork, volume: Volume, snapshot: VolumeSnapshot, order: ExportOrder
    ) -> ExportResult:
        """Carry the order out on a machine of its own, which is gone afterwards."""
        plan = plan_scratch(self.rule, snapshot=snapshot, volume=volume, run_id=work.run.id)
        errand = Errand(SNAPSHOT_MOUNT, self.workers.command(deadline_s=order.deadline_s + _MARGIN_S))
        async with self.scratch.worker(work.journal, plan, errand) as machine:
            await work.journal.step("worker started", machine=machine.id, app=machine.app)
            mounted = next((mount.path for mount in machine.mounts if mount.path), order.directory)
            here = replace(order, directory=mounted)
            return await self.workers.export(machine, here, on_progress=work.on_progress)

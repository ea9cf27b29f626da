"""Asks a volume that is to be used what a drill asks of a temporary one, and leaves no trace on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flykeep.domain.agreement import Comparison
from flykeep.domain.artifact import Artifact
from flykeep.domain.drill import DRILL_MOUNT, why_failed
from flykeep.domain.errors import StoreError
from flykeep.domain.fly import Volume
from flykeep.domain.ids import ExportId
from flykeep.domain.probes import ProbeOutcome
from flykeep.domain.proof import Timing
from flykeep.jobs.context import Journal, TargetWork
from flykeep.jobs.drill_choice import DrillKeys
from flykeep.jobs.scratch import Errand
from flykeep.jobs.visiting import Visitor
from flykeep.ports.catalog import Catalog
from flykeep.ports.machine_worker import MachineWorkers
from flykeep.ports.store import Links, StoreOrder
from flykeep.ports.worker import DrillOrder, DrillResult, IndexReference, Progress

PROBED = "probed"
NOT_COMPARED = "not compared"
_MARGIN = timedelta(minutes=15)  # for starting, handing in and the last report
_WAITING = timedelta(hours=2)  # a volume is restored and a machine started before a worker reads


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What the volume holds and how it answered; `reason` is why it may not be used, None where it may."""

    files: int
    content_bytes: int
    probes: tuple[ProbeOutcome, ...]
    comparison: Comparison | None
    compared_with: ExportId | None
    timings: tuple[Timing, ...]
    reason: str | None

    @property
    def is_passed(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Prober:
    """Probes and compares by a worker machine on the volume itself."""

    visitor: Visitor
    workers: MachineWorkers
    catalog: Catalog
    keys: DrillKeys
    links: Links
    deadline: timedelta

    async def probe(self, work: TargetWork, volume: Volume, *, as_of: datetime) -> ProbeReport:
        """`as_of` is when the volume's contents were backed up.

        What is wrong with them is told in the report. Raises what `Visitor.visit` raises, and WorkerError; the store is
        only asked for an index, and where it does not answer nothing is compared.
        """
        against = await self._against(work)
        order = DrillOrder(
            directory=DRILL_MOUNT,
            as_of_s=as_of.timestamp(),
            probes=work.rule.probes,
            reference=self._reference(against) if against else None,
            restore=None,
            deadline_s=self.deadline.total_seconds(),
            is_kept=True,
        )
        try:
            result = await self.carry_out(work.journal, volume, order, work.on_progress)
        except StoreError as error:
            await work.journal.step(NOT_COMPARED, export_id=against.export_id if against else None, error=error.message)
            against = None
            bare = replace(order, reference=None)
            result = await self.carry_out(work.journal, volume, bare, work.on_progress)
        report = report_of(result, against)
        await work.journal.step(PROBED, volume=volume.id, files=report.files, reason=report.reason)
        return report

    async def carry_out(
        self, journal: Journal, volume: Volume, order: DrillOrder, on_progress: Callable[[Progress], None]
    ) -> DrillResult:
        """One order by a worker machine on the volume."""
        command = self.workers.command(deadline_s=order.deadline_s + _MARGIN.total_seconds())
        async with self.visitor.visit(journal, volume, Errand(order.directory, command)) as machine:
            await journal.step("worker started", machine=machine.id, app=machine.app)
            mounted = next((mount.path for mount in machine.mounts if mount.path), order.directory)
            return await self.workers.drill(machine, replace(order, directory=mounted), on_progress=on_progress)

    def linked(self, order: StoreOrder, keys: Sequence[str]) -> StoreOrder:
        """These objects alone, by links that hold as long as a worker may need them."""
        return self.links.linked(order, keys, valid_for=self.deadline + _WAITING)

    async def _against(self, work: TargetWork) -> Artifact | None:
        async with self.catalog.transaction() as tx:
            return self.keys.comparable(await tx.artifacts(work.lineage.id))

    def _reference(self, artifact: Artifact) -> IndexReference:
        """The index alone, by a link: a production machine gets no credentials of the store."""
        reference = self.keys.reference(artifact, self.keys.index_key.identity())
        return replace(reference, store=self.linked(reference.store, [reference.index.key]))


def report_of(result: DrillResult, against: Artifact | None) -> ProbeReport:
    """What a worker found, judged as a drill is."""
    export_id = against.export_id if against else None
    return ProbeReport(
        files=result.files,
        content_bytes=result.content_bytes,
        probes=result.probes,
        comparison=result.comparison,
        compared_with=export_id,
        timings=result.timings,
        reason=why_failed(
            files=result.files, probes=result.probes, comparison=result.comparison, compared_with=export_id
        ),
    )

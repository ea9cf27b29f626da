"""Fills an empty volume from an artifact, by a worker machine on the volume itself.

The order, with the identity and presigned links in it, reaches the machine through exec's standard input alone; the
store's credentials never leave this process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from flykeep.domain.artifact import Artifact
from flykeep.domain.drill import DRILL_MOUNT
from flykeep.domain.errors import ConfigError, IntegrityError, RefusalError
from flykeep.domain.fly import Volume
from flykeep.domain.probes import Probe
from flykeep.domain.scratch import room_gb
from flykeep.jobs.authentic import ArtifactStores
from flykeep.jobs.context import Journal, ignore_progress
from flykeep.jobs.probing import Prober, ProbeReport, report_of
from flykeep.ports.worker import DrillOrder, Progress

FILLING = "filling"
FILLED = "filled"


@dataclass(frozen=True, slots=True)
class Filler:
    """Opens artifacts by the configured identity, or by one that is handed in for the one call."""

    prober: Prober

    def opened_by(self, artifact: Artifact, *, identity: str | None = None) -> str | None:
        """The identity to open it with, None where it is not encrypted; asks nobody anything.

        Raises ConfigError, or RefusalError where a worker machine could not see its store.
        """
        keys = self.prober.keys
        if artifact.store in keys.hidden:
            raise RefusalError(
                f"store {artifact.store!r} is a folder that a worker machine does not have",
                hint="Choose a copy in a bucket, or import the files into a running machine: `flykeep import`.",
                facts={"export_id": artifact.export_id},
            )
        if artifact.manifest.encryption != "age":
            return None
        found = identity or keys.identity()
        if found is None:
            raise ConfigError("this artifact is encrypted", hint="Set `identity_secret` under [encryption].")
        return found

    async def fill(
        self,
        journal: Journal,
        volume: Volume,
        artifact: Artifact,
        *,
        probes: tuple[Probe, ...] = (),
        identity: str | None = None,
        on_progress: Callable[[Progress], None] = ignore_progress,
    ) -> ProbeReport:
        """Restore all of it, compare every file and what is said of it with the index, then ask the probes.

        Raises IntegrityError for a forged manifest and for any difference: then the volume must not be used, and not be
        filled again. RefusalError for a volume that is not empty, too small, or not free; what `Visitor.visit` raises.
        """
        identity = self.opened_by(artifact, identity=identity)
        totals = artifact.manifest.totals
        if volume.size_gb < (needed_gb := room_gb(content_bytes=totals.content_bytes, entries=totals.entries)):
            raise RefusalError(
                f"the artifact needs a volume of {needed_gb} GB, and this one has {volume.size_gb}",
                facts={"volume": volume.id, "export_id": artifact.export_id},
            )
        await ArtifactStores(self.prober.keys.stores, self.prober.keys.settler).authentic(artifact)
        await journal.step(FILLING, volume=volume.id, export_id=artifact.export_id, store=artifact.store)
        order = self._order(artifact, probes, identity)
        result = await self.prober.carry_out(journal, volume, order, on_progress)
        if result.comparison is None or not result.comparison.is_agreed:
            raise IntegrityError(
                f"what was restored is not the artifact: {report_of(result, artifact).reason}",
                facts={"volume": volume.id, "export_id": artifact.export_id},
            )
        report = report_of(result, artifact)
        await journal.step(FILLED, volume=volume.id, files=report.files, reason=report.reason)
        return report

    def _order(self, artifact: Artifact, probes: tuple[Probe, ...], identity: str | None) -> DrillOrder:
        keys, deadline = self.prober.keys, self.prober.deadline
        store = self.prober.linked(keys.stores[artifact.store].order, [one.key for one in artifact.objects])
        reference = replace(keys.reference(artifact, identity), store=store, is_exact=True, unsteady=())
        return DrillOrder(
            directory=DRILL_MOUNT,
            as_of_s=artifact.manifest.started_at.timestamp(),
            probes=probes,
            reference=reference,
            restore=replace(keys.contents(artifact, identity, deadline=deadline), store=store),
            deadline_s=deadline.total_seconds(),
            is_kept=True,
        )

"""Builds what people look at and decide by before something is restored."""

from __future__ import annotations

from flykeep.bootstrap.ground import Ground
from flykeep.jobs.authentic import ArtifactStores
from flykeep.jobs.check import CheckJob
from flykeep.jobs.inspect import InspectJob


def inspecting(ground: Ground, check: CheckJob) -> InspectJob:
    """What looks at live volumes."""
    signed, worker = ArtifactStores(ground.stores, ground.settler), ground.settings.worker
    return InspectJob(
        ground.fly,
        ground.access,
        ground.workers,
        ground.catalog,
        signed,
        ground.keys.index_key,
        ground.identity,
        ground.clock,
        ground.ids,
        check.refresh_lineages,
        worker.deadline,
        worker.stall_timeout,
    )

"""Builds what works on volumes that are to be used: by worker machines in the volumes' own apps."""

from __future__ import annotations

from flykeep.adapters.launchers.fly_machine import FlyMachineWorkers
from flykeep.adapters.stores.links import SignedLinks
from flykeep.bootstrap.ground import Ground
from flykeep.bootstrap.workers import artifact_keys
from flykeep.jobs.filling import Filler
from flykeep.jobs.probing import Prober
from flykeep.jobs.visiting import Visitor


def prober(ground: Ground) -> Prober | None:
    """None where no image is configured for worker machines."""
    image = ground.settings.worker.image
    if image is None:
        return None
    return Prober(
        Visitor(ground.scratch_fly, ground.catalog, ground.clock, image),
        FlyMachineWorkers(ground.scratch_fly, clock=ground.clock),
        ground.catalog,
        artifact_keys(ground),
        SignedLinks(),
        ground.settings.worker.deadline,
    )


def filler(ground: Ground) -> Filler | None:
    """None where no image is configured for worker machines."""
    asking = prober(ground)
    return Filler(asking) if asking else None

"""Builds the copies into other apps."""

from __future__ import annotations

from flykeep.adapters.fly.production import FlyProduction
from flykeep.bootstrap.ground import Ground
from flykeep.bootstrap.visiting import filler
from flykeep.jobs.copy_planner import CopyPlanner
from flykeep.jobs.copy_removal import CopyRemover
from flykeep.jobs.restore_copy import CopyJob


def copying(ground: Ground) -> CopyJob:
    """The copy, with what plans it and what removes what a dead one left."""
    production = FlyProduction(ground.fly, clock=ground.clock)
    planner = CopyPlanner(ground.fly, production, ground.catalog, filler(ground))
    remover = CopyRemover(production, ground.catalog, ground.clock)
    return CopyJob(planner, production, remover, ground.clock, ground.settings.worker.image)

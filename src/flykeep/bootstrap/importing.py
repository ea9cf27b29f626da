"""Builds what brings files back into running machines."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.adapters.fly.control import FlyControl
from flykeep.bootstrap.ground import Ground
from flykeep.jobs.authentic import ArtifactStores
from flykeep.jobs.import_ import ImportJob, ImportSettings
from flykeep.jobs.import_artifacts import SignedArtifacts
from flykeep.jobs.import_ending import ImportEnding
from flykeep.jobs.import_log import ImportLog
from flykeep.jobs.import_moving import ImportMover
from flykeep.jobs.import_planner import ImportPlanner
from flykeep.jobs.import_sweep import ImportSweep
from flykeep.jobs.restarting import Restarter


@dataclass(frozen=True, slots=True)
class Importing:
    """The import itself, what plans it, and what ends interrupted ones."""

    job: ImportJob
    planner: ImportPlanner
    sweep: ImportSweep


def importing(ground: Ground) -> Importing:
    """Everything of imports."""
    fly, access, importers, catalog, clock = ground.fly, ground.access, ground.workers, ground.catalog, ground.clock
    control, log, worker = FlyControl(fly), ImportLog(catalog, clock), ground.settings.worker
    signed = ArtifactStores(ground.stores, ground.settler)
    artifacts = SignedArtifacts(catalog, signed, ground.keys.index_key, ground.identity)
    planner = ImportPlanner(fly, control, artifacts, log)
    mover = ImportMover(control, access, importers, log, Restarter(control, clock), worker.deadline)
    ending = ImportEnding(planner, log, mover)
    limits = ImportSettings(worker.deadline, worker.stall_timeout)
    return Importing(
        job=ImportJob(planner, access, importers, artifacts, log, mover, ending, limits),
        planner=planner,
        sweep=ImportSweep(catalog, log, planner, mover, ground.settings.targets),
    )

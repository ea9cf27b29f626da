"""Builds what rebuilds lost apps."""

from __future__ import annotations

from flykeep.adapters.fly.apps import FlyApps
from flykeep.bootstrap.artifacts import rebuilding
from flykeep.bootstrap.ground import Ground
from flykeep.bootstrap.visiting import filler
from flykeep.bootstrap.workers import scratch_sweep
from flykeep.jobs.candidates import CandidateReader
from flykeep.jobs.recover import Handed, RecoverJob
from flykeep.jobs.recover_log import RecoverLog
from flykeep.jobs.recover_machines import RecoverMachines
from flykeep.jobs.recover_outside import Outside
from flykeep.jobs.recover_planner import RecoverPlanner
from flykeep.jobs.recover_volumes import RecoverVolumes


def recovering(ground: Ground) -> RecoverJob:
    """The job; what it is handed by a verb stays in this process."""
    catalog, clock, settings = ground.catalog, ground.clock, ground.settings
    apps = FlyApps(ground.fly, clock=clock)
    log = RecoverLog(catalog)
    planner = RecoverPlanner(
        apps,
        ground.production,
        catalog,
        CandidateReader(ground.fly, catalog, clock, settings.targets),
        rebuilding(ground),
        tuple(settings.stores),
        filler(ground),
        log,
    )
    return RecoverJob(
        planner,
        Outside(apps, clock),
        RecoverVolumes(ground.production, planner, clock, settings.scratch.rule.regions),
        RecoverMachines(ground.production, clock),
        scratch_sweep(ground),
        catalog,
        log,
        Handed(),
    )

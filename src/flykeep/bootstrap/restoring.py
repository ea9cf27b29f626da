"""Builds restores: what plans them, what carries them out, and what settles interrupted ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from flykeep.bootstrap.ground import Ground
from flykeep.bootstrap.visiting import filler
from flykeep.bootstrap.workers import scratch_sweep
from flykeep.jobs.restore import RestoreJob
from flykeep.jobs.restore_ending import RestoreEnding
from flykeep.jobs.restore_log import RestoreLog
from flykeep.jobs.restore_machine import NewMachines
from flykeep.jobs.restore_planner import RestorePlanner
from flykeep.jobs.restore_sweep import RestoreSweep
from flykeep.jobs.restore_switch import Switch
from flykeep.jobs.restore_volume import NewVolume
from flykeep.jobs.runner import TargetJob
from flykeep.jobs.snapshot import SnapshotJob

_BRIEF = timedelta(seconds=30)  # a daemon waits for reconcile before its first tick


@dataclass(frozen=True, slots=True)
class Restoring:
    """The restore itself, what plans it, and what goes on with interrupted ones."""

    job: RestoreJob
    planner: RestorePlanner
    sweep: RestoreSweep
    log: RestoreLog


def restoring(ground: Ground, snapshots: SnapshotJob, copies: TargetJob | None = None) -> Restoring:
    """Everything of restores."""
    fly, clock, log = ground.production, ground.clock, RestoreLog(ground.catalog, ground.clock)
    filling, settings = filler(ground), ground.settings
    planner = RestorePlanner(fly, ground.fly, log, filling, settings.scratch.rule.regions)
    volumes = NewVolume(fly, clock, filling.prober if filling else None, filling)
    machines = NewMachines(fly, clock)
    switch = Switch(fly, clock, machines)
    ending = RestoreEnding(fly, clock, volumes, machines, switch, snapshots)
    job = RestoreJob(planner, fly, clock, log, volumes, machines, switch, ending, scratch_sweep(ground), copies)
    brief = replace(job, switch=replace(switch, patience=_BRIEF))
    return Restoring(job, planner, RestoreSweep(brief, settings.targets), log)

"""Builds what works in temporary volumes and machines: the snapshot source and the drills."""

from __future__ import annotations

from flykeep import __version__
from flykeep.adapters.launchers.drill_rooms import LocalDrillRooms
from flykeep.adapters.launchers.fly_machine import FlyMachineWorkers
from flykeep.bootstrap.ground import Ground
from flykeep.domain.ids import AppName
from flykeep.jobs.check import CheckJob
from flykeep.jobs.drill import DrillJob
from flykeep.jobs.drill_choice import DrillChooser, DrillKeys
from flykeep.jobs.drill_place import DrillPlace
from flykeep.jobs.drill_sweep import DrillSweep
from flykeep.jobs.locating import Locator
from flykeep.jobs.proofs import ProofBook
from flykeep.jobs.scratch import Scratch
from flykeep.jobs.scratch_sweep import ScratchSweep
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.jobs.snapshot_source import SnapshotSource


def snapshot_source(ground: Ground, snapshots: SnapshotJob) -> SnapshotSource | None:
    """None where no image is configured for the machines that would read."""
    place, settings, clock = scratch(ground), ground.settings, ground.clock
    if place is None:
        return None
    machines = FlyMachineWorkers(ground.scratch_fly, clock=clock)
    rule, hidden = settings.scratch.rule, settings.hidden_stores
    return SnapshotSource(snapshots, place, machines, rule, ground.catalog, clock, hidden)


def scratch(ground: Ground) -> Scratch | None:
    """Where temporary volumes and machines are made; None without a worker image."""
    image = ground.settings.worker.image
    if image is None:
        return None
    return Scratch(ground.scratch_fly, ground.catalog, ground.clock, image, ground.settings.scratch.max_workers)


def drilling(ground: Ground, book: ProofBook, check: CheckJob) -> tuple[DrillJob, DrillSweep]:
    """The drills, and what removes the folders they leave."""
    settings, catalog, clock, fly = ground.settings, ground.catalog, ground.clock, ground.fly
    rooms = LocalDrillRooms(settings.drill.directory)
    locator, rule = Locator(fly, check.refresh_lineages), settings.scratch.rule
    chooser = DrillChooser(fly, catalog, locator, artifact_keys(ground), rule, settings.worker.deadline)
    machines = FlyMachineWorkers(ground.scratch_fly, clock=clock)
    place = DrillPlace(catalog, clock, scratch(ground), machines, rooms, ground.workers)
    job = DrillJob(settings.drill_means, chooser, place, book, clock, __version__)
    return job, DrillSweep(rooms, catalog)


def artifact_keys(ground: Ground) -> DrillKeys:
    """What artifacts are reached and opened by."""
    hidden, key = ground.settings.hidden_stores, ground.keys.index_key
    return DrillKeys(ground.stores, hidden, ground.settler, key, ground.identity)


def scratch_sweep(ground: Ground) -> ScratchSweep:
    """What was journalled is removed even where workers are not configured any more."""
    settings = ground.settings
    is_shared = settings.worker.image is None or settings.scratch.is_in_target_app
    app = None if is_shared else AppName(settings.scratch.app)
    return ScratchSweep(ground.scratch_fly, ground.catalog, ground.clock, app)

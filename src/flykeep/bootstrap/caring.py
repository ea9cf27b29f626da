"""Builds what cares for volumes: usage, cleaning, extension, retention."""

from __future__ import annotations

from flykeep.adapters.fly.control import FlyControl
from flykeep.adapters.fly.volumes import FlyVolumes
from flykeep.bootstrap.ground import Ground
from flykeep.domain.volume_care import VolumeAct
from flykeep.jobs.restarting import Restarter
from flykeep.jobs.snapshot import SnapshotJob
from flykeep.jobs.volume_care import VolumeCare
from flykeep.jobs.volume_clean import VolumeCleaner
from flykeep.jobs.volume_extend import VolumeExtender
from flykeep.jobs.volume_retention import VolumeRetention


def volume_care(ground: Ground, snapshots: SnapshotJob) -> VolumeCare:
    """The runs of kind `volume`."""
    fly, clock, keeper, control = ground.fly, ground.clock, FlyVolumes(ground.fly), FlyControl(ground.fly)
    deadline = ground.settings.worker.deadline
    return VolumeCare(
        {
            VolumeAct.CLEAN: VolumeCleaner(fly, snapshots, ground.access, ground.workers, clock, deadline),
            VolumeAct.EXTEND: VolumeExtender(fly, keeper, control, Restarter(control, clock), clock),
            VolumeAct.RETENTION: VolumeRetention(fly, keeper),
        }
    )

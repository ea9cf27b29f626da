"""Restores as their journals tell of them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from flykeep.domain.ids import AppName, MachineId, RunId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.restore_phases import (
    RestoreBeginning,
    RestorePhase,
    RestoreRecord,
    beginning_detail,
    restore_record,
)
from flykeep.domain.run import Step
from tests.unit.domain.builders import DAY, NOW

RUN = RunId("r1")
BEGINNING = RestoreBeginning(
    app=AppName("my-crocbot"),
    volume_name=VolumeName("crocbot_data"),
    volume_id=VolumeId("vol_1"),
    machine_id=MachineId("m1"),
    machine_name="crocbot",
    was_running=True,
    is_reachable=True,
    regions=("fra", "ams"),
    size_gb=3,
    as_of=NOW - timedelta(hours=2),
    snapshot_id=SnapshotId("vs_1"),
)


def journal(
    *steps: tuple[str, dict[str, Any]], at: datetime = NOW, beginning: RestoreBeginning = BEGINNING
) -> list[Step]:
    """A restore's steps after its beginning."""
    told = [(RestorePhase.BEGUN.step, dict(beginning_detail(beginning))), *steps]
    return [Step(RUN, number, name, at, json.dumps(detail)) for number, (name, detail) in enumerate(told, start=1)]


def record_of(*steps: tuple[str, dict[str, Any]], at: datetime = NOW) -> RestoreRecord:
    found = restore_record(RUN, journal(*steps, at=at))
    assert found is not None
    return found


def restored(*phases: RestorePhase, at: datetime = NOW - 9 * DAY) -> RestoreRecord:
    """A restore that entered these phases."""
    return record_of(*((phase.step, {}) for phase in phases), at=at)

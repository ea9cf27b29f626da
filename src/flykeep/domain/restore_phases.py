"""What a restore has done so far, read from its journal.

Every effect is journalled before it is asked for, so that whoever comes after a dead process knows what may exist.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from flykeep.domain.errors import RefusalError
from flykeep.domain.fly import Volume
from flykeep.domain.ids import AppName, ExportId, MachineId, RunId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.run import Step
from flykeep.domain.scratch import CLOCK_TOLERANCE

PREFIX = "restore: "


class RestorePhase(StrEnum):
    """What was journalled last. Until SWITCHING nothing of the application has been touched."""

    BEGUN = "begun"  # a safety snapshot may exist
    VOLUME = "volume"  # a new volume may exist
    CONTENTS = "contents"  # the new volume exists; a worker machine may be on it
    MACHINE = "machine"  # a new machine may exist, never launched
    SWITCHING = "switching"  # the old machine may be cordoned or stopped; the application is on the old volume
    PROMOTING = "promoting"  # the old machine is stopped; the new one may be Launch's, and started
    CHECKING = "checking"  # the application is on the new volume; traffic may be held back
    RESTORED = "restored"  # done; the old machine is kept, stopped on the old volume
    UNDOING = "undoing"  # on the way back
    UNDONE = "undone"  # the application is on the old volume; what was made may be removed in part
    FINALIZING = "finalizing"  # what is not used any more may be removed in part
    OVER = "over"  # nothing is kept

    @property
    def step(self) -> str:
        """The name of the step that begins this phase."""
        return PREFIX + self.value

    @property
    def is_before_switch(self) -> bool:
        return self in _UNTOUCHED

    @property
    def is_on_new(self) -> bool:
        """Whether the application runs on the new volume."""
        return self in {RestorePhase.CHECKING, RestorePhase.RESTORED}

    @property
    def coming(self) -> str:
        """What happens next, in a person's words."""
        return _COMING[self]


_UNTOUCHED = frozenset({RestorePhase.BEGUN, RestorePhase.VOLUME, RestorePhase.CONTENTS, RestorePhase.MACHINE})

_COMING = {
    RestorePhase.BEGUN: "make the new volume",
    RestorePhase.VOLUME: "look at what the new volume holds",
    RestorePhase.CONTENTS: "make the new machine, not launched",
    RestorePhase.MACHINE: "stop the old machine",
    RestorePhase.SWITCHING: "start the new machine",
    RestorePhase.PROMOTING: "wait for its health checks",
    RestorePhase.CHECKING: "let traffic in",
    RestorePhase.RESTORED: "undo or finalize, as you decide",
    RestorePhase.UNDOING: "start the old machine",
    RestorePhase.UNDONE: "remove the new machine and volume",
    RestorePhase.FINALIZING: "remove what is not used any more",
    RestorePhase.OVER: "nothing",
}

VOLUME_MADE = PREFIX + "volume made"
VOLUME_DROPPED = PREFIX + "volume dropped"
CONTENTS_GOOD = PREFIX + "contents good"
SAFETY = PREFIX + "safety snapshot"
SAFE = PREFIX + "safety snapshot done"
MACHINE_MADE = PREFIX + "machine made"
LEASE = PREFIX + "lease"
FENCING = PREFIX + "fencing"
FENCE_DUE = PREFIX + "fence due"
FENCED = PREFIX + "fenced"
FACTS = frozenset(
    {
        VOLUME_MADE,
        VOLUME_DROPPED,
        CONTENTS_GOOD,
        SAFETY,
        SAFE,
        MACHINE_MADE,
        LEASE,
        FENCING,
        FENCE_DUE,
        FENCED,
    }
)
"""Steps that tell of one effect within a phase."""


@dataclass(frozen=True, slots=True)
class RestoreBeginning:
    """What was decided before anything was done. `machine_id` None: no machine had the volume, or none is left."""

    app: AppName
    volume_name: VolumeName
    volume_id: VolumeId
    machine_id: MachineId | None
    machine_name: str
    was_running: bool
    is_reachable: bool  # whether the old machine's host answered
    regions: tuple[str, ...]
    size_gb: int
    as_of: datetime
    snapshot_id: SnapshotId | None = None
    export_id: ExportId | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A creation that was journalled; `id` None while its answer has not arrived."""

    at: datetime
    region: str
    name: str
    before: tuple[str, ...]
    id: str | None = None
    platform: str | None = None  # a machine's mark of Launch, set when it takes over


@dataclass(frozen=True, slots=True)
class RestoreRecord:
    """One restore. `fence_json` is what was taken from the old machine's configuration, to be given back by undo."""

    run_id: RunId
    phase: RestorePhase
    phase_at: datetime
    beginning: RestoreBeginning
    is_safe: bool  # the safety snapshot is made, or skipped for a reason
    volume: Asked | None
    is_content_good: bool
    is_content_begun: bool
    machine: Asked | None
    is_switched: bool  # the old machine may have been touched
    is_promoted: bool  # the new machine may have been started
    fence_json: str | None
    is_fence_due: bool
    lease_until: datetime | None
    switching_at: datetime | None

    @property
    def is_half_done(self) -> bool:
        """Whether a process died, or gave up, on the way to something that can be gone on with."""
        return self.phase not in {RestorePhase.RESTORED, RestorePhase.OVER}

    @property
    def is_over(self) -> bool:
        return self.phase is RestorePhase.OVER

    @property
    def volume_id(self) -> VolumeId | None:
        return VolumeId(self.volume.id) if self.volume and self.volume.id else None

    @property
    def machine_id(self) -> MachineId | None:
        return MachineId(self.machine.id) if self.machine and self.machine.id else None


def restore_record(run_id: RunId, steps: Sequence[Step]) -> RestoreRecord | None:
    """The restore a run journalled; None where it never began one."""
    ours = [step for step in steps if step.name.startswith(PREFIX)]
    phases = [step for step in ours if step.name not in FACTS]
    if not phases:
        return None
    begun = next(step for step in phases if step.name == RestorePhase.BEGUN.step)
    entered = {step.name for step in phases}
    dropped = max((at for at, step in enumerate(ours) if step.name == VOLUME_DROPPED), default=-1)
    since = ours[dropped + 1 :]
    names = {step.name for step in since}
    leases = [_detail(step) for step in ours if step.name == LEASE]
    fences = [str(_detail(step)["taken"]) for step in ours if step.name == FENCING]
    due = [step.name for step in ours if step.name in {FENCE_DUE, FENCED}]
    return RestoreRecord(
        run_id=run_id,
        phase=RestorePhase(phases[-1].name.removeprefix(PREFIX)),
        phase_at=phases[-1].at,
        beginning=_beginning(_detail(begun)),
        is_safe=any(step.name == SAFE for step in ours),
        volume=_asked(since, RestorePhase.VOLUME.step, VOLUME_MADE),
        is_content_good=CONTENTS_GOOD in names,
        is_content_begun=RestorePhase.CONTENTS.step in names,
        machine=_asked(ours, RestorePhase.MACHINE.step, MACHINE_MADE),
        is_switched=RestorePhase.SWITCHING.step in entered,
        is_promoted=RestorePhase.PROMOTING.step in entered,
        fence_json=fences[-1] if fences else None,
        is_fence_due=bool(due) and due[-1] == FENCE_DUE,
        lease_until=datetime.fromisoformat(str(leases[-1]["until"])) if leases else None,
        switching_at=next((step.at for step in phases if step.name == RestorePhase.SWITCHING.step), None),
    )


def beginning_detail(beginning: RestoreBeginning) -> dict[str, str | int | None]:
    """As the step BEGUN keeps it."""
    return {
        "app": beginning.app,
        "volume": beginning.volume_name,
        "old_volume": beginning.volume_id,
        "old_machine": beginning.machine_id,
        "name": beginning.machine_name,
        "was_running": int(beginning.was_running),
        "is_reachable": int(beginning.is_reachable),
        "regions": " ".join(beginning.regions),
        "size_gb": beginning.size_gb,
        "as_of": beginning.as_of.isoformat(),
        "snapshot": beginning.snapshot_id,
        "artifact": beginning.export_id,
    }


def volumes_in_the_making(records: Sequence[RestoreRecord], volumes: Sequence[Volume]) -> frozenset[VolumeId]:
    """What restores that are not over made, or may have made where an answer never arrived."""
    asked = [(record.beginning.app, record.volume) for record in records if record.volume is not None]
    return frozenset(
        one.id for one in volumes for app, volume in asked if one.app == app and may_be_asked_for(one, volume)
    )


def may_be_asked_for(volume: Volume, asked: Asked) -> bool:
    """Whether this is the volume that was asked for, or may be while nobody knows which it is."""
    if asked.id is not None:
        return volume.id == asked.id
    return (
        volume.name == asked.name
        and volume.region == asked.region
        and volume.id not in asked.before
        and volume.attached_machine_id is None
        and volume.created_at >= asked.at - CLOCK_TOLERANCE
    )


_ENDED_FROM = {
    "undo": frozenset(RestorePhase) - {RestorePhase.FINALIZING, RestorePhase.OVER},
    "finalize": frozenset({RestorePhase.RESTORED, RestorePhase.UNDONE, RestorePhase.FINALIZING}),
    "resume": frozenset(RestorePhase) - {RestorePhase.RESTORED, RestorePhase.OVER},
}
ENDINGS = tuple(_ENDED_FROM)


def refuse_ending(ending: str, record: RestoreRecord) -> None:
    """Raises RefusalError where a restore cannot be resumed, undone or finalized from where it is."""
    if record.phase not in _ENDED_FROM[ending]:
        raise RefusalError(
            f"restore {record.run_id} is {record.phase}, so there is nothing to {ending}",
            hint=next_step(record) or "Nothing is left to decide.",
            facts={"run": record.run_id},
        )


def next_step(record: RestoreRecord) -> str | None:
    """What a person does about it now; None where it is over."""
    run, phase = record.run_id, record.phase
    if phase is RestorePhase.OVER:
        return None
    if phase is RestorePhase.RESTORED:
        back, end = f"`flykeep restore undo {run}` goes back", f"`flykeep restore finalize {run}` drops the old"
        return f"{back}; {end} machine and volume."
    if phase is RestorePhase.UNDONE:
        return f"`flykeep restore resume {run}` removes the new machine and volume."
    if phase is RestorePhase.FINALIZING:
        return f"`flykeep restore resume {run}` goes on removing."
    if phase is RestorePhase.UNDOING:
        return f"`flykeep restore resume {run}` goes on with going back."
    return f"`flykeep restore resume {run}` goes on; `flykeep restore undo {run}` goes back."


def _beginning(detail: Mapping[str, Any]) -> RestoreBeginning:
    return RestoreBeginning(
        app=AppName(detail["app"]),
        volume_name=VolumeName(detail["volume"]),
        volume_id=VolumeId(detail["old_volume"]),
        machine_id=MachineId(detail["old_machine"]) if detail.get("old_machine") else None,
        machine_name=str(detail["name"]),
        was_running=bool(detail["was_running"]),
        is_reachable=bool(detail["is_reachable"]),
        regions=tuple(str(detail["regions"]).split()),
        size_gb=int(detail["size_gb"]),
        as_of=datetime.fromisoformat(detail["as_of"]),
        snapshot_id=SnapshotId(detail["snapshot"]) if detail.get("snapshot") else None,
        export_id=ExportId(detail["artifact"]) if detail.get("artifact") else None,
    )


def _asked(steps: Sequence[Step], intent: str, made: str) -> Asked | None:
    """The newest creation of its kind."""
    at = max((number for number, step in enumerate(steps) if step.name == intent), default=None)
    if at is None:
        return None
    detail = _detail(steps[at])
    answers = [_detail(step)["id"] for step in steps[at:] if step.name == made]
    return Asked(
        at=steps[at].at,
        region=str(detail.get("region", "")),
        name=str(detail.get("name", "")),
        before=tuple(str(detail.get("before", "")).split()),
        id=str(answers[-1]) if answers else None,
        platform=detail.get("platform"),
    )


def _detail(step: Step) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(step.detail) if step.detail else {}
    return found

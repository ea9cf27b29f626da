"""Targets as people write them, and lineages: the identity that survives Fly's changing ids."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flykeep.domain.errors import UsageError
from flykeep.domain.ids import AppName, LineageId, MachineId, VolumeId, VolumeName

ORG_LINEAGE = LineageId("org")
"""The lineage of work that concerns the whole organization: checks and reconciliations."""

STORES_LINEAGE = LineageId("stores")
"""The lineage of work on all stores that takes long: verifications. Checks go on meanwhile."""

_RECOVERY = "recover:"


def recovery_lineage(app: AppName) -> LineageId:
    """The lineage of the work that rebuilds a lost app: it may have many targets, or none that is known here."""
    return LineageId(f"{_RECOVERY}{app}")


def is_org_wide(lineage_id: LineageId) -> bool:
    """Whether this lineage is no target's."""
    return lineage_id in {ORG_LINEAGE, STORES_LINEAGE} or lineage_id.startswith(_RECOVERY)


def work_label(lineage_id: LineageId) -> str | None:
    """How people know work that is no target's; None for a target's."""
    if lineage_id.startswith(_RECOVERY):
        return f"app {lineage_id.removeprefix(_RECOVERY)}"
    return {ORG_LINEAGE: "organization", STORES_LINEAGE: "all stores"}.get(lineage_id)


@dataclass(frozen=True, slots=True)
class TargetRef:
    """`app/volume` or `app/volume@machine`, as typed; an app alone means its only volume."""

    app: AppName
    volume_name: VolumeName | None = None
    machine: str | None = None

    @classmethod
    def parse(cls, text: str) -> TargetRef:
        """Raises UsageError where the text is not `app`, `app/volume` or `app/volume@machine`."""
        path, at, machine = text.partition("@")
        app, slash, volume = path.partition("/")
        if not app or (slash and not volume) or (at and not machine) or "/" in volume:
            raise UsageError(f"{text!r} is not a target", hint="Write app/volume or app/volume@machine.")
        return cls(AppName(app), VolumeName(volume) if volume else None, machine or None)

    def __str__(self) -> str:
        volume = f"/{self.volume_name}" if self.volume_name else ""
        return f"{self.app}{volume}" + (f"@{self.machine}" if self.machine else "")


@dataclass(frozen=True, slots=True)
class Lineage:
    """One protected volume through all the ids it has had.

    Fly moves a machine to another host under the same machine id and a new volume id; the app, the volume's name and
    the machine's id stay. `volume_ids` is oldest first; its last is the live one.
    """

    id: LineageId
    app: AppName
    volume_name: VolumeName
    machine_id: MachineId | None
    machine_name: str | None
    volume_ids: tuple[VolumeId, ...]
    first_seen_at: datetime
    last_seen_at: datetime
    is_retired: bool = False

    @property
    def volume_id(self) -> VolumeId:
        return self.volume_ids[-1]

    @property
    def label(self) -> str:
        """`app/volume`: how people know it; callers add the machine where that is ambiguous."""
        return f"{self.app}/{self.volume_name}"

    def label_among(self, others: tuple[Lineage, ...]) -> str:
        """The shortest unambiguous name among `others`."""
        twins = [other for other in others if other.label == self.label and not other.is_retired]
        if len(twins) < 2 or not (self.machine_name or self.machine_id):
            return self.label
        return f"{self.label}@{self.machine_name or self.machine_id}"

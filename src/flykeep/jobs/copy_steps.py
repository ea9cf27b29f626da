"""The journalled steps of a copy, by which the next process knows what this one made in the other app."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flykeep.domain.ids import AppName, VolumeId
from flykeep.domain.run import Step

VOLUME = "copy volume"
VOLUME_MADE = "copy volume made"
MACHINE = "copy machine"
MACHINE_MADE = "copy machine made"
COPIED = "copied"
REMOVED = "copy removed"
LEFT_BEHIND = "copy left behind"


@dataclass(frozen=True, slots=True)
class CopyIntent:
    """What a copy that did not come to its end journalled.

    `volume_id` None: the answer never arrived. `is_found`: it did not, and a volume was found that looks like it.
    """

    app: AppName
    volume_name: str
    at: datetime
    volume_id: VolumeId | None
    is_found: bool
    machine_names: tuple[str, ...]


def unfinished_copy(steps: Sequence[Step]) -> CopyIntent | None:
    """None where no copy was begun, or where it is complete or removed."""
    begun = next((step for step in steps if step.name == VOLUME), None)
    if begun is None or any(step.name in {COPIED, REMOVED} for step in steps):
        return None
    asked: dict[str, str] = json.loads(begun.detail)
    made: dict[str, str | int] = next((json.loads(step.detail) for step in steps if step.name == VOLUME_MADE), {})
    return CopyIntent(
        app=AppName(asked["app"]),
        volume_name=asked["name"],
        at=begun.at,
        volume_id=VolumeId(str(made["id"])) if made else None,
        is_found=bool(made.get("found")),
        machine_names=tuple(json.loads(step.detail)["name"] for step in steps if step.name == MACHINE),
    )

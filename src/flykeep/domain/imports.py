"""What a run that brought files back has done so far, read from its journal.

Every step is journalled before it is taken, so that whoever comes after a dead process knows what may be half done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flykeep.domain.errors import RefusalError
from flykeep.domain.ids import RunId
from flykeep.domain.run import Step

PREFIX = "import: "


class ImportPhase(StrEnum):
    """What was journalled last. Only STAGING has not touched the application's files."""

    STAGING = "staging"  # a folder beside the data may hold a part of the archive
    MOVING = "moving"  # some of the files may have been replaced
    MOVED = "moved"  # all are replaced; the old ones are kept
    UNDOING = "undoing"  # some of the old files may be back
    UNDONE = "undone"  # all are back; the new ones are kept
    DROPPING = "dropping"  # what is kept beside may be removed in part
    OVER = "over"  # nothing of it is left on the machine

    @property
    def step(self) -> str:
        """The name of the step that begins this phase."""
        return PREFIX + self.value


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One import, in `phase` since `phase_at`; `is_restarting` says whether its machine was to be restarted."""

    run_id: RunId
    phase: ImportPhase
    phase_at: datetime
    is_restarting: bool

    @property
    def is_half_done(self) -> bool:
        """Whether a process died, or gave up, in the middle of something that can be gone on with."""
        return self.phase in _NEXT

    @property
    def is_kept(self) -> bool:
        """Whether content is kept on the volume until a person decides."""
        return self.phase in {ImportPhase.MOVED, ImportPhase.UNDONE}

    @property
    def next_phase(self) -> ImportPhase:
        """Where going on leads to."""
        return _NEXT.get(self.phase, self.phase)


_ENDED_FROM = {
    "undo": {ImportPhase.MOVING, ImportPhase.MOVED, ImportPhase.UNDOING},
    "confirm": {ImportPhase.MOVED, ImportPhase.UNDONE, ImportPhase.DROPPING},
}

_NEXT = {
    ImportPhase.STAGING: ImportPhase.OVER,
    ImportPhase.MOVING: ImportPhase.MOVED,
    ImportPhase.UNDOING: ImportPhase.UNDONE,
    ImportPhase.DROPPING: ImportPhase.OVER,
}


def import_record(run_id: RunId, steps: Sequence[Step]) -> ImportRecord | None:
    """The import a run journalled; None where it never began to stage."""
    found = [step for step in steps if step.name.startswith(PREFIX)]
    if not found:
        return None
    details = [json.loads(step.detail) if step.detail else {} for step in found]
    restarting = [detail["restart"] for detail in details if "restart" in detail]
    phase = ImportPhase(found[-1].name.removeprefix(PREFIX))
    return ImportRecord(run_id, phase, found[-1].at, is_restarting=bool(restarting and restarting[-1]))


def refuse_ending(ending: str, record: ImportRecord) -> None:
    """Raises RefusalError where an import cannot be undone, or confirmed, from where it is."""
    if record.phase not in _ENDED_FROM[ending]:
        raise RefusalError(
            f"import {record.run_id} is {record.phase}, so there is nothing to {ending}",
            hint="`flykeep reconcile --apply` brings what stopped half-way to an end."
            if record.is_half_done
            else f"`flykeep import confirm {record.run_id}` drops what is kept of it.",
            facts={"run": record.run_id},
        )

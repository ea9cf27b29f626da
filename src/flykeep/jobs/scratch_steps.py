"""The journalled steps by which the next process knows what temporary resources this one may have left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flykeep.domain.ids import AppName, RunId
from flykeep.domain.run import Step
from flykeep.domain.scratch import numbered

PLACE = "scratch place"
SCRATCH = "scratch"
CLEARED = "scratch cleared"
REMOVED = "scratch removed"
LEFT_BEHIND = "scratch left behind"
"""CLEARED: nothing of it exists, and it goes on; REMOVED: likewise, and its place is free."""


def made(kind: str) -> str:
    """The step that follows a creation whose answer arrived."""
    return f"scratch {kind} made"


@dataclass(frozen=True, slots=True)
class ScratchIntent:
    """A name that a run journalled before Fly heard of it; `id` where the answer arrived."""

    run_id: RunId
    kind: str  # "volume" | "machine"
    app: AppName
    name: str
    at: datetime
    id: str | None = None


def scratch_intents(steps: Sequence[Step]) -> tuple[ScratchIntent, ...]:
    """All names a run journalled, oldest first."""
    ids = {
        (kind, detail["name"]): detail["id"]
        for kind in ("volume", "machine")
        for detail in (_detail(step) for step in steps if step.name == made(kind))
    }
    return tuple(
        ScratchIntent(
            run_id=step.run_id,
            kind=detail["kind"],
            app=AppName(detail["app"]),
            name=detail["name"],
            at=step.at,
            id=ids.get((detail["kind"], detail["name"])),
        )
        for step, detail in ((step, _detail(step)) for step in steps if step.name == SCRATCH)
    )


def unremoved(steps: Sequence[Step]) -> tuple[ScratchIntent, ...]:
    """Those that were journalled since the run last saw everything of it removed."""
    removed = max((at for at, step in enumerate(steps) if step.name in {CLEARED, REMOVED}), default=-1)
    late = {_detail(step)["name"] for step in steps[removed + 1 :] if step.name == SCRATCH}
    return tuple(intent for intent in scratch_intents(steps) if intent.name in late)


def may_still_write(steps: Sequence[Step]) -> bool:
    """Whether a worker that has an order may live: it gets none before its machine's id is journalled."""
    return any(intent.kind == "machine" and intent.id is not None for intent in unremoved(steps))


def taken_places(steps: Sequence[Step]) -> int:
    """1 while the run has a place for a temporary machine, else 0."""
    last = next((step.name for step in reversed(steps) if step.name in {PLACE, REMOVED}), None)
    return int(last == PLACE)


def names_used(steps: Sequence[Step]) -> int:
    """The highest number among the names a run has journalled: the next attempt takes the one after."""
    return max((numbered(intent.name) for intent in scratch_intents(steps)), default=0)


def _detail(step: Step) -> Mapping[str, str]:
    detail: Mapping[str, str] = json.loads(step.detail)
    return detail

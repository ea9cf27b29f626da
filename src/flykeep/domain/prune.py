"""The plan of a retention run as people see it, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.domain.retention import CopyPlan
from flykeep.domain.target import Lineage


@dataclass(frozen=True, slots=True)
class PlannedCopy:
    """What retention would do with one target's artifacts in one store; without a rule (`is_ruled`) nothing."""

    lineage: Lineage
    label: str
    store: str
    plan: CopyPlan
    is_ruled: bool

    @property
    def problems(self) -> tuple[str, ...]:
        """What a person has to look at: not that a pin or a lock holds, which somebody wanted."""
        if not self.is_ruled:
            return ()
        found = [self.plan.refusal] if self.plan.refusal else []
        found += [f"{one.artifact.export_id}: {one.reasons[0]}" for one in self.plan.decisions if one.is_mismatched]
        return tuple(found)


@dataclass(frozen=True, slots=True)
class CopyResult:
    """What a run of retention did with one copy.

    `locked` are those the store refused to delete, `held` those that somebody used or pinned meanwhile, `problems`
    what a person has to look at.
    """

    lineage_id: str
    target: str
    store: str
    removed: tuple[str, ...]
    kept: int
    locked: tuple[str, ...]
    held: tuple[str, ...]
    freed_bytes: int
    problems: tuple[str, ...]

    @property
    def undone(self) -> tuple[str, ...]:
        """What the run meant to remove and found that it could not."""
        return (*(locked_words(export_id) for export_id in self.locked), *self.held)


def locked_words(export_id: str) -> str:
    """What is said of an artifact that its store refused to delete."""
    return f"{export_id}: locked by the store"


@dataclass(frozen=True, slots=True)
class PruneResult:
    """`finished` are the removals that an earlier process had begun."""

    copies: tuple[CopyResult, ...]
    finished: tuple[str, ...]

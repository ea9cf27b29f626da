"""Whether two backups of one volume agree: which differences the time between them explains, and which nothing does.

A file that was not touched since before the earlier backup must be the same in both. What says that it was touched is
its own date, and the dates of the directories above it, which change when a name in them comes or goes. All dates are
those of the later backup, for only there a later change shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from flykeep.domain.artifact import EntryType

TOLERANCE = timedelta(minutes=2)
"""Dates are whole seconds of a machine's clock, and what was written just before a snapshot may not be on its disk."""

FIRST_NAMES = 20


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """An entry as one backup has it. `changed_s` is the newest instant at which anything of it is known to change."""

    type: EntryType
    size_bytes: int
    mtime_s: int
    changed_s: int
    link_target: bytes | None = None


class Standing(StrEnum):
    """What becomes of one path."""

    EQUAL = "equal"
    READ = "read"  # must be equal: its contents decide
    CHANGED = "changed"  # written or replaced in between
    GONE = "gone"  # removed in between
    ADDED = "added"  # made in between
    CONTRADICTION = "contradiction"


@dataclass(frozen=True, slots=True)
class Judged:
    standing: Standing
    why: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """The time between the two; what changed at or after `begins_s` may differ.

    `is_exact` means that there is none, because the tree was made from the artifact itself: nothing is explained.
    """

    begins_s: float
    is_tree_later: bool
    is_exact: bool = False

    def explains(self, changed_s: int | None) -> bool:
        """Whether something that changed then may differ; None is unknown, and may."""
        return not self.is_exact and (changed_s is None or changed_s >= self.begins_s)


def gap_between(*, tree_at: datetime, artifact_at: datetime) -> Gap:
    """`artifact_at` is when the artifact's reading began."""
    begins_at = min(tree_at, artifact_at) - TOLERANCE
    return Gap(begins_at.timestamp(), is_tree_later=tree_at >= artifact_at)


def judge_both(gap: Gap, *, indexed: EntryFacts, found: EntryFacts, above_s: int | None) -> Judged:
    """A path that both have; `above_s` is when a directory above it changed last in the later backup."""
    later = found if gap.is_tree_later else indexed
    if _is_container(indexed) and _is_container(found):
        return Judged(Standing.EQUAL)
    if gap.explains(later.changed_s):
        return Judged(Standing.CHANGED)
    has_same_date = indexed.mtime_s == found.mtime_s
    if not has_same_date and gap.explains(above_s):
        return Judged(Standing.CHANGED)
    difference = _difference(indexed, found)
    if difference is not None:
        return Judged(Standing.CONTRADICTION, difference)
    return Judged(Standing.READ if indexed.type is EntryType.FILE else Standing.EQUAL)


def judge_unindexed(gap: Gap, *, found: EntryFacts, above_s: int | None) -> Judged:
    """A path of the tree that the index lacks."""
    if gap.explains(above_s) or (gap.is_tree_later and gap.explains(found.changed_s)):
        return Judged(Standing.ADDED if gap.is_tree_later else Standing.GONE)
    return Judged(Standing.CONTRADICTION, "is not in the artifact, and nothing says that it came or went since")


def judge_missing(gap: Gap, *, indexed: EntryFacts, above_s: int | None) -> Judged:
    """A path of the index that the tree lacks."""
    if gap.explains(above_s) or (not gap.is_tree_later and gap.explains(indexed.changed_s)):
        return Judged(Standing.GONE if gap.is_tree_later else Standing.ADDED)
    return Judged(Standing.CONTRADICTION, "is missing, and nothing says that it came or went since")


def _difference(indexed: EntryFacts, found: EntryFacts) -> str | None:
    wanted = EntryType.FILE if indexed.type is EntryType.HARDLINK else indexed.type
    if wanted is not found.type:
        return f"is a {found.type}, and a {wanted} in the artifact"
    if indexed.type is EntryType.FILE and indexed.size_bytes != found.size_bytes:
        return f"has {found.size_bytes} bytes, and {indexed.size_bytes} in the artifact"
    if indexed.type is EntryType.SYMLINK and indexed.link_target != found.link_target:
        return "points elsewhere than in the artifact"
    return None


def _is_container(entry: EntryFacts) -> bool:
    return entry.type is EntryType.DIRECTORY


@dataclass(frozen=True, slots=True)
class Difference:
    """One contradiction. `path` has surrogate escapes where not UTF-8."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a restored tree and an artifact's index agree; `first` names some of the contradictions."""

    equal: int
    changed: int
    gone: int
    added: int
    contradictions: int
    first: tuple[Difference, ...] = ()

    @property
    def is_agreed(self) -> bool:
        return self.contradictions == 0


@dataclass(slots=True)
class Tally:
    """Counts standings as they come."""

    counts: dict[Standing, int] = field(default_factory=lambda: dict.fromkeys(Standing, 0))
    first: list[Difference] = field(default_factory=list)

    def add(self, path: str, judged: Judged) -> None:
        self.counts[judged.standing] += 1
        if judged.standing is Standing.CONTRADICTION and len(self.first) < FIRST_NAMES:
            self.first.append(Difference(path, judged.why))

    def comparison(self) -> Comparison:
        return Comparison(
            equal=self.counts[Standing.EQUAL],
            changed=self.counts[Standing.CHANGED],
            gone=self.counts[Standing.GONE],
            added=self.counts[Standing.ADDED],
            contradictions=self.counts[Standing.CONTRADICTION],
            first=tuple(self.first),
        )

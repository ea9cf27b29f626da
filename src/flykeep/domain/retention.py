"""What a keep rule leaves of the artifacts one lineage has in one store, and why.

Artifacts are ranked among themselves: `daily = 7` means seven days that have a backup, and `within` counts back from
the newest backup, not from now. A pause of the exports therefore removes nothing, and neither does a clock that jumps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from flykeep.domain.artifact import Artifact, ArtifactOutcome, Lock
from flykeep.domain.ids import ExportId
from flykeep.domain.policy import KeepRule
from flykeep.domain.wording import instant, span

_SHARE_GUARDS_ABOVE = 3
"""So few removals at once are never too large a share: two of three is an ordinary day of a young target."""

_LOCK_ASKED_AGAIN = timedelta(days=7)
"""Where a store did not say how long it refuses, it is asked again after this long."""


class Fate(StrEnum):
    KEEP = "keep"
    REMOVE = "remove"
    REFUSE = "refuse"  # the rule would not keep it, or nobody can tell; a guard holds it, and people are told


@dataclass(frozen=True, slots=True)
class Candidate:
    """One copy that is decided about.

    `pin` is a person's reason for holding it. `mismatch` says how its store disagrees with what was recorded.
    """

    artifact: Artifact
    pin: str | None = None
    mismatch: str | None = None

    @property
    def id(self) -> ExportId:
        return self.artifact.export_id

    @property
    def at(self) -> datetime:
        return self.artifact.manifest.started_at

    @property
    def is_restorable(self) -> bool:
        return self.artifact.satisfies_rpo and self.mismatch is None

    @property
    def counts_for_min(self) -> bool:
        is_complete = self.artifact.manifest.outcome is ArtifactOutcome.COMPLETE
        return self.is_restorable and is_complete and self.artifact.verified_at is not None


@dataclass(frozen=True, slots=True)
class Decision:
    artifact: Artifact
    fate: Fate
    reasons: tuple[str, ...]
    is_mismatched: bool = False


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """Every artifact with its fate, newest first; with a `refusal` no removal may begin."""

    decisions: tuple[Decision, ...]
    refusal: str | None = None

    def of(self, fate: Fate) -> tuple[Artifact, ...]:
        return tuple(decision.artifact for decision in self.decisions if decision.fate is fate)

    @property
    def removals(self) -> tuple[Artifact, ...]:
        """Those whose removal would begin; what is leaving already is only finished."""
        return tuple(decision.artifact for decision in self.decisions if _begins(decision))


def plan_retention(
    candidates: Iterable[Candidate], keep: KeepRule, *, timezone: str, max_delete_share: float, now: datetime
) -> CopyPlan:
    """Decide about every artifact of one lineage in one store.

    Kept are, whatever the rule: the newest restorable one, the newest `min` that are verified and complete, every
    restorable one where there are fewer than `min` of those, everything where none is restorable, and what a person
    pinned. An artifact that is no backup takes no slot from one that is, and is kept exactly as long as the rule would
    keep it if it were one. What was made after `now` is kept and decides nothing.
    """
    ranked = sorted(candidates, key=lambda one: (one.at, one.id), reverse=True)
    kept = _kept([one for one in ranked if one.artifact.leaving_at is None], keep, ZoneInfo(timezone), now)
    plan = CopyPlan(tuple(_decide(one, kept.get(one.id, ()), now=now) for one in ranked))
    if keep.is_empty:
        return replace(plan, refusal="no keep rule says what to keep, so nothing is removed")
    return _within_share(plan, max_delete_share)


def _kept(ranked: Sequence[Candidate], keep: KeepRule, zone: ZoneInfo, now: datetime) -> dict[ExportId, list[str]]:
    """Why each artifact stays; those with no reason are not in it."""
    present = [one for one in ranked if one.at <= now]
    restorable = [one for one in present if one.is_restorable]
    reasons: dict[ExportId, list[str]] = {}
    for one, reason in (
        *((one, "no keep rule") for one in ranked if keep.is_empty),
        *((one, f"pinned: {one.pin}") for one in ranked if one.pin is not None),
        *((one, f"made in the future, at {instant(one.at)}") for one in ranked if one.at > now),
        *((one, "newest restorable") for one in restorable[:1]),
        *_slots(restorable, keep, zone),
        *_held_by_min(restorable, keep),
        *((one, "nothing here is restorable") for one in present if not restorable),
        *((one, f"{why}, though no backup") for one, why in _slots(present, keep, zone) if not one.is_restorable),
    ):
        reasons.setdefault(one.id, []).append(reason)
    return reasons


def _slots(ranked: Sequence[Candidate], keep: KeepRule, zone: ZoneInfo) -> Iterator[tuple[Candidate, str]]:
    for number, one in enumerate(ranked[: keep.last], start=1):
        yield one, f"last {number} of {keep.last}"
    periods: tuple[tuple[str, int, Callable[[datetime], str]], ...] = (
        ("daily", keep.daily, lambda at: f"{at:%Y-%m-%d}"),
        ("weekly", keep.weekly, lambda at: f"{at:%G-W%V}"),
        ("monthly", keep.monthly, lambda at: f"{at:%Y-%m}"),
        ("yearly", keep.yearly, lambda at: f"{at:%Y}"),
    )
    for name, count, period_of in periods:
        newest = {period_of(one.at.astimezone(zone)): one for one in reversed(ranked)}
        for period in sorted(newest, key=lambda label: newest[label].at, reverse=True)[:count]:
            yield newest[period], f"{name} {period}"
    if keep.within:
        for one in ranked:
            if ranked[0].at - one.at <= keep.within:
                yield one, f"within {span(keep.within)}"


def _held_by_min(restorable: Sequence[Candidate], keep: KeepRule) -> Iterator[tuple[Candidate, str]]:
    counting = [one for one in restorable if one.counts_for_min]
    for number, one in enumerate(counting[: keep.min], start=1):
        yield one, f"min {number} of {keep.min}"
    if len(counting) < keep.min:
        for one in restorable:
            yield one, f"min {keep.min}, and {len(counting)} verified and complete"


def _decide(one: Candidate, reasons: Sequence[str], *, now: datetime) -> Decision:
    artifact = one.artifact
    if artifact.leaving_at is not None:
        return Decision(artifact, Fate.REMOVE, (f"its removal began at {instant(artifact.leaving_at)}",))
    if one.mismatch is not None:
        return Decision(artifact, Fate.REFUSE, (one.mismatch, *reasons), is_mismatched=True)
    if reasons:
        return Decision(artifact, Fate.KEEP, tuple(reasons))
    lock = artifact.lock
    if lock is not None and _until(lock) > now:
        until = f"until {instant(lock.until_at)}" if lock.until_at else f"since {instant(lock.seen_at)} at least"
        return Decision(artifact, Fate.REFUSE, (f"locked {until}: {lock.reason}",))
    return Decision(artifact, Fate.REMOVE, ("no rule keeps it",))


def _until(lock: Lock) -> datetime:
    return lock.until_at or lock.seen_at + _LOCK_ASKED_AGAIN


def _within_share(plan: CopyPlan, max_delete_share: float) -> CopyPlan:
    """The plan, unless it removes too much at once: then nothing."""
    total = sum(decision.artifact.leaving_at is None for decision in plan.decisions)
    removed = len(plan.removals)
    if removed <= _SHARE_GUARDS_ABOVE or removed <= max_delete_share * total:
        return plan
    refused = (
        replace(decision, fate=Fate.REFUSE, reasons=("too many at once", *decision.reasons))
        if _begins(decision)
        else decision
        for decision in plan.decisions
    )
    share = f"{removed} of {total} artifacts would go at once, more than {max_delete_share:.0%} of them"
    return CopyPlan(tuple(refused), refusal=share)


def _begins(decision: Decision) -> bool:
    """Whether a removal would begin, and not only be finished."""
    return decision.fate is Fate.REMOVE and decision.artifact.leaving_at is None

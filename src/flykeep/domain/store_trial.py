"""What trying a store showed, judged against what its operator says of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from flykeep.domain.stores import StoreTraits

_SKEW_WARNED = timedelta(minutes=1)
_SKEW_AT_MOST = timedelta(minutes=5)  # Amazon refuses signatures at 15 minutes: RequestTimeTooSkewed


class StepState(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"  # neither seen to work nor seen to fail


@dataclass(frozen=True, slots=True)
class TrialStep:
    """One thing that was tried."""

    name: str
    state: StepState
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class StoreTrialReport:
    """`left` are the keys of what could not be removed again."""

    store: str
    steps: tuple[TrialStep, ...]
    left: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        return all(step.state is not StepState.FAILED for step in self.steps)


def judge_clock(skew: timedelta) -> TrialStep:
    """`skew` is by how much this machine is ahead of the store."""
    ahead_s = round(skew.total_seconds())
    detail = f"this machine is {abs(ahead_s)} s {'ahead of' if ahead_s >= 0 else 'behind'} the store"
    hint = "Set this machine's clock by NTP: a store refuses signatures of another time, at 15 minutes most do."
    if abs(skew) > _SKEW_AT_MOST:
        return TrialStep("clock", StepState.FAILED, detail, hint)
    if abs(skew) > _SKEW_WARNED:
        return TrialStep("clock", StepState.WARNING, detail, hint)
    return TrialStep("clock", StepState.OK, detail)


def judge_create_only(*, is_refused: bool, is_atomic: bool | None) -> TrialStep:
    """`is_refused`: flykeep saw that the key was taken; `is_atomic`: the store itself refused."""
    if not is_refused:
        return TrialStep(
            "create only", StepState.FAILED, "a second create of one key was taken", "Use another store: report this."
        )
    if is_atomic:
        return TrialStep("create only", StepState.OK, "the store refuses a second create")
    return TrialStep(
        "create only",
        StepState.WARNING,
        "the store lets a create overwrite; flykeep looks before it writes and reads back after",
        "Give each flykeep a prefix of its own, and let no other program write under it.",
    )


def judge_ranges(*, are_honoured: bool) -> TrialStep:
    if are_honoured:
        return TrialStep("range read", StepState.OK, "a part was asked for and came alone")
    return TrialStep(
        "range read",
        StepState.WARNING,
        "the store sends the whole object where a part is asked for",
        "Everything works, but getting one file out of an artifact downloads all of it.",
    )


def judge_lock(traits: StoreTraits, *, retention: str | None, locked_until: str | None) -> TrialStep:
    """`retention` is the bucket's default; `locked_until` that of the data this trial has stored."""
    if traits.is_lock_required:
        if locked_until is not None:
            return TrialStep("lock", StepState.OK, f"{retention or 'no default'}; locked until {locked_until}")
        return TrialStep(
            "lock",
            StepState.FAILED,
            f"what was stored is not locked ({retention or 'the bucket has no default retention'})",
            "Turn on object lock with a default retention, or set `object_lock` to `none`.",
        )
    if retention is None and locked_until is None:
        return TrialStep("lock", StepState.OK, "none, as configured")
    return TrialStep(
        "lock",
        StepState.WARNING,
        f"the bucket locks what is written ({retention or f'until {locked_until}'}), and `object_lock` does not say so",
        'Write object_lock = "required": then each write carries the checksum that locking buckets ask for.',
    )


def judge_abort_rule(rule: str | None) -> TrialStep:
    if rule is not None:
        return TrialStep("abort rule", StepState.OK, f"unfinished uploads are removed {rule}")
    return TrialStep(
        "abort rule",
        StepState.WARNING,
        "the bucket has no rule that removes unfinished uploads under this prefix",
        "Add a lifecycle rule AbortIncompleteMultipartUpload of some days; `flykeep reconcile` removes its own.",
    )


def judge_delete(
    traits: StoreTraits, *, refusal: str | None, is_gone: bool, are_versions_kept: bool = False
) -> TrialStep:
    """`refusal` is what the store answered to a delete, None where it took it; `is_gone`: it is listed no more."""
    if traits.are_deletes_refused:
        if refusal is not None and not is_gone:
            return TrialStep("delete", StepState.OK, "refused, as configured")
        return TrialStep(
            "delete",
            StepState.FAILED,
            "this key may delete, although `deletes` says that it may not",
            "Take the permission from the key: whoever steals it could delete every artifact.",
        )
    if refusal is None and is_gone and traits.is_lock_required:
        return TrialStep("delete", StepState.OK, "what was stored is hidden; locked versions stay until they may go")
    if refusal is None and is_gone and are_versions_kept:
        return TrialStep(
            "delete",
            StepState.WARNING,
            "what was stored is hidden, but the bucket keeps every version of it",
            "Add a lifecycle rule that ends noncurrent versions: without it retention and erasure free nothing.",
        )
    if refusal is None and is_gone:
        return TrialStep("delete", StepState.OK, "what was stored is gone")
    return TrialStep(
        "delete",
        StepState.FAILED,
        refusal or "the store took the delete, and the object is still there",
        'Allow this key to delete, or write deletes = "refused" and let the bucket\'s own rules end artifacts.',
    )


def judge_place(traits: StoreTraits) -> TrialStep:
    if not traits.is_on_platform:
        return TrialStep("place", StepState.OK, "off the platform, as far as its address and the configuration tell")
    return TrialStep(
        "place",
        StepState.WARNING,
        "on the platform: lost together with the Fly account",
        "Keep a second copy in a store that somebody else runs.",
    )

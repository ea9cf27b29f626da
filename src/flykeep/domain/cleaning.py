"""Removing files that nobody needs any more: what a rule may say, and what must be true before anything goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from flykeep.domain.errors import RefusalError
from flykeep.domain.fly import VolumeSnapshot
from flykeep.domain.policy import CleanRule, TargetRule

SNAPSHOT_MAX_AGE = timedelta(hours=1)
"""A removal needs a snapshot no older than this."""

MIN_AGE = SNAPSHOT_MAX_AGE
"""What goes has not changed for at least as long, so that the snapshot which is asked for holds it."""

_BRACKET = re.compile(r"\[!?\]?[^\]]*\]")


def names_nothing(glob: str) -> bool:
    """Whether a glob has no letter and no digit outside of its wildcards: it would take whatever there is."""
    return not any(letter.isalnum() for letter in _BRACKET.sub("", glob))


def rule_texts(rule: TargetRule) -> tuple[str, ...]:
    """The target's rules as a run's request carries them."""
    return tuple(f"{int(one.older_than.total_seconds())}s {one.glob}" for one in rule.clean)


def rules_to_apply(rule: TargetRule, shown: Sequence[str]) -> tuple[CleanRule, ...]:
    """The target's rules. Raises RefusalError where it has none, or where they are not those a person has seen."""
    if not rule.clean:
        raise RefusalError(
            f"target {rule.match} has no rule that says what may go",
            hint='Give it one: clean = [{ glob = "agents/*/sessions/*.jsonl", older_than = "30d" }].',
        )
    if tuple(shown) != rule_texts(rule):
        raise RefusalError(
            "the rules of this target are not those of the configuration this command was given with",
            hint="The daemon reads its configuration when it starts: restart it, then look at the dry run again.",
        )
    return rule.clean


def require_snapshot(snapshots: Sequence[VolumeSnapshot], *, now: datetime, label: str) -> VolumeSnapshot:
    """The newest restorable snapshot. Raises RefusalError where it is older than `SNAPSHOT_MAX_AGE`, or missing."""
    dated = [(row.created_at, row) for row in snapshots if row.is_restorable and row.created_at is not None]
    newest = max(dated, key=lambda pair: pair[0], default=None)
    if newest is not None and now - newest[0] <= SNAPSHOT_MAX_AGE:
        return newest[1]
    found = f"the newest is of {newest[0]:%Y-%m-%d %H:%M} UTC" if newest else "there is none that can be restored"
    raise RefusalError(
        f"nothing is removed without a snapshot of the last hour, and {found}",
        hint=f"Take one with `flykeep snapshot {label}`, or add --snapshot.",
    )

"""The care of a volume: more room, and how long its snapshots are kept. What will be done, or why not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from flykeep.domain.errors import RefusalError, UsageError
from flykeep.domain.fly import HostStatus, Volume
from flykeep.domain.plans import refuse_leaving
from flykeep.domain.policy import Policy

MAX_SIZE_GB = 500
CENTS_PER_GB_MONTH = 15
"""Source: Fly's pricing page; a volume costs this whether it is used, attached, or neither."""

MIN_RETENTION_DAYS, MAX_RETENTION_DAYS = 1, 60
_SIZE = re.compile(r"(\+?)([0-9]{1,4})")


class VolumeAct(StrEnum):
    """What a run of kind `volume` does."""

    CLEAN = "clean"
    EXTEND = "extend"
    RETENTION = "retention"


@dataclass(frozen=True, slots=True)
class ExtensionPlan:
    """From one size to another; equal where only the restart of an earlier extension is left to do."""

    from_gb: int
    to_gb: int

    @property
    def is_growing(self) -> bool:
        return self.to_gb > self.from_gb

    @property
    def monthly_cents(self) -> int:
        """What the growth costs each month."""
        return (self.to_gb - self.from_gb) * CENTS_PER_GB_MONTH

    @property
    def cost_text(self) -> str:
        return f"${self.monthly_cents / 100:.2f} more a month"


@dataclass(frozen=True, slots=True)
class KeepingPlan:
    """How Fly snapshots the volume before and after. `doubts` say what the target's policy wants otherwise."""

    from_days: int | None
    to_days: int | None
    is_automatic_before: bool | None
    is_automatic_after: bool | None
    doubts: tuple[str, ...]


def wanted_size_gb(text: str, *, size_gb: int) -> int:
    """`5` is that size, `+2` is two more than `size_gb`. Raises UsageError for anything else."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a size in GB", hint="Write --size 5, or --size +2 for two GB more.")
    return int(found.group(2)) + (size_gb if found.group(1) else 0)


def plan_extension(volume: Volume, to_gb: int, *, is_restarting: bool) -> ExtensionPlan:
    """Raises RefusalError where the volume would not grow, or could not."""
    facts = {"app": volume.app, "volume": volume.id}
    refuse_leaving(volume)
    if volume.host_status is HostStatus.UNREACHABLE:
        raise RefusalError(
            "the volume's host is unreachable, so it cannot grow there",
            hint="Use `flykeep restore`: a restored volume may be bigger.",
            facts=facts,
        )
    if to_gb < volume.size_gb or (to_gb == volume.size_gb and not is_restarting):
        raise RefusalError(
            f"the volume has {volume.size_gb} GB, and volumes never shrink",
            hint=f"Name more than {volume.size_gb}, or --size +1.",
            facts=facts,
        )
    if to_gb > MAX_SIZE_GB:
        raise RefusalError(f"Fly's volumes have at most {MAX_SIZE_GB} GB", hint="Name less.", facts=facts)
    return ExtensionPlan(volume.size_gb, to_gb)


def plan_keeping(volume: Volume, policy: Policy, *, days: int | None, is_automatic_on: bool | None) -> KeepingPlan:
    """Raises UsageError where nothing, or something impossible, is asked for."""
    if days is None and is_automatic_on is None:
        raise UsageError("nothing is asked for", hint="Give --days N, --automatic on or --automatic off.")
    if days is not None and not MIN_RETENTION_DAYS <= days <= MAX_RETENTION_DAYS:
        raise UsageError(
            f"Fly keeps snapshots for {MIN_RETENTION_DAYS} to {MAX_RETENTION_DAYS} days, not {days}",
            hint="Export what must be kept for longer: `flykeep export`.",
        )
    refuse_leaving(volume)
    to_days = volume.snapshot_retention_days if days is None else days
    is_on = volume.is_automatic_snapshot_on if is_automatic_on is None else is_automatic_on
    doubts: list[str] = []
    wanted = policy.snapshot.retention_days
    if wanted is not None and to_days is not None and to_days < wanted:
        doubts.append(f"policy {policy.name!r} wants {wanted} days: each check will report snapshot.retention_low")
    if policy.snapshot.is_automatic_wanted and is_on is False:
        doubts.append(
            f"policy {policy.name!r} wants Fly's daily snapshots: each check will report snapshot.automatic_off"
        )
    return KeepingPlan(volume.snapshot_retention_days, to_days, volume.is_automatic_snapshot_on, is_on, tuple(doubts))

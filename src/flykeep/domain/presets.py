"""The policies that need no writing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from flykeep.domain.policy import DrillRule, ExportRule, Policy, Schedule, SnapshotRule

# Applies only where a policy has copies: without a store there is nothing to export to.
_WEEKLY_EXPORT = ExportRule(schedule=Schedule("0 4 * * 0"), max_age=timedelta(days=8))
_MONTHLY_DRILL = DrillRule(schedule=Schedule("0 5 1 * *"), max_age=timedelta(days=35))

PRODUCTION = Policy(
    name="production",
    snapshot=SnapshotRule(
        schedule=Schedule("30 3 * * *"),
        # Fly's own daily snapshots are 24 h and a minute or so apart and start at no promised time.
        max_age=timedelta(hours=30),
        retention_days=5,
        is_automatic_wanted=True,
    ),
    export=_WEEKLY_EXPORT,
    drill=_MONTHLY_DRILL,
)
DEVELOPMENT = Policy(name="development", is_alarming=False)
CRITICAL = Policy(
    name="critical",
    snapshot=SnapshotRule(
        schedule=Schedule("15 */6 * * *"),
        max_age=timedelta(hours=8),
        retention_days=14,
        is_automatic_wanted=True,
    ),
    export=_WEEKLY_EXPORT,
    drill=_MONTHLY_DRILL,
)

PRESETS: Mapping[str, Policy] = MappingProxyType(
    {preset.name: preset for preset in (PRODUCTION, DEVELOPMENT, CRITICAL)}
)

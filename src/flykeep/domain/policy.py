"""What is wanted for a target: schedules, ages, retention, hooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from flykeep.domain.probes import Probe


class JobKind(StrEnum):
    SNAPSHOT = "snapshot"
    EXPORT = "export"
    CHECK = "check"
    RECONCILE = "reconcile"
    VERIFY = "verify"
    PRUNE = "prune"
    RETIRE = "retire"
    DRILL = "drill"
    IMPORT = "import"
    RESTORE = "restore"
    RECOVER = "recover"
    CHECKPOINT = "checkpoint"
    VOLUME = "volume"


class Encryption(StrEnum):
    AGE = "age"
    NONE = "none"


class IfUnavailable(StrEnum):
    """What a hook does when its machine can't run it."""

    CONTINUE = "continue"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression read in a time zone. Sunday is 0 and 7."""

    cron: str
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class SnapshotRule:
    """`schedule` None means that flykeep takes none by itself; `max_age` None means that age is not judged."""

    schedule: Schedule | None = None
    max_age: timedelta | None = None
    retention_days: int | None = None
    is_automatic_wanted: bool = False
    max_pending: timedelta = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class ExportRule:
    schedule: Schedule | None = None
    max_age: timedelta | None = None
    source: str = "auto"


@dataclass(frozen=True, slots=True)
class DrillRule:
    """`is_asked` says that the configuration itself asks for drills, and not only a preset."""

    schedule: Schedule | None = None
    max_age: timedelta | None = None
    is_asked: bool = False

    @property
    def is_wanted(self) -> bool:
        return self.schedule is not None or self.max_age is not None


@dataclass(frozen=True, slots=True)
class KeepRule:
    """What retention leaves of a target's artifacts in one store. `min` alone is no rule: it only limits the others."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: timedelta | None = None
    min: int = 1

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said of what to keep, so that nothing may be removed."""
        return not (self.last or self.daily or self.weekly or self.monthly or self.yearly or self.within)


@dataclass(frozen=True, slots=True)
class CopyRule:
    """`is_on_platform`: the store is lost together with the Fly account."""

    store: str
    keep: KeepRule = field(default_factory=KeepRule)
    is_on_platform: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    snapshot: SnapshotRule = field(default_factory=SnapshotRule)
    export: ExportRule = field(default_factory=ExportRule)
    drill: DrillRule = field(default_factory=DrillRule)
    copies: tuple[CopyRule, ...] = ()
    remind_every: timedelta = timedelta(hours=24)
    new_volume_grace: timedelta = timedelta(hours=26)
    is_alarming: bool = True
    timezone: str = "UTC"

    @property
    def is_kept_on_platform_only(self) -> bool:
        """Whether every copy it wants would be lost together with the Fly account."""
        return bool(self.copies) and all(copy.is_on_platform for copy in self.copies)


@dataclass(frozen=True, slots=True)
class Hook:
    """A command run inside the machine, argument list, never through a shell; at most 60 s are allowed by Fly."""

    run: tuple[str, ...]
    timeout: timedelta = timedelta(seconds=20)
    if_unavailable: IfUnavailable = IfUnavailable.FAIL
    makes_consistent: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    before_snapshot: Hook | None = None
    after_snapshot: Hook | None = None
    before_export: Hook | None = None
    after_export: Hook | None = None


@dataclass(frozen=True, slots=True)
class CleanRule:
    """Files that nobody needs any more: a glob from the volume's root, and how long they must not have changed."""

    glob: str
    older_than: timedelta


@dataclass(frozen=True, slots=True)
class TargetRule:
    """Which volumes a policy is for; `match` and the paths are globs. The first matching rule wins."""

    match: str
    policy: Policy
    mount: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    instances: str = "each"
    hooks: Hooks = field(default_factory=Hooks)
    probes: tuple[Probe, ...] = ()
    clean: tuple[CleanRule, ...] = ()

    def matches(self, app: str, volume_name: str, machine: str | None = None) -> bool:
        pattern, _, wanted_machine = self.match.partition("@")
        if "/" not in pattern:
            pattern += "/*"
        if not fnmatchcase(f"{app}/{volume_name}", pattern):
            return False
        return not wanted_machine or (machine is not None and fnmatchcase(machine, wanted_machine))


def keep_rule_of(policy: Policy, store: str) -> KeepRule:
    """What is wanted of the copies in this store; an empty rule where the policy has none there."""
    return next((copy.keep for copy in policy.copies if copy.store == store), KeepRule())


def is_retention_wanted(rules: tuple[TargetRule, ...]) -> bool:
    """Whether any copy of any target has a keep rule."""
    return any(not copy.keep.is_empty for rule in rules for copy in rule.policy.copies)


def rule_for(rules: tuple[TargetRule, ...], *, app: str, volume_name: str, machine: str | None) -> TargetRule | None:
    """The first rule that matches, or None: a volume nobody protects."""
    return next((rule for rule in rules if rule.matches(app, volume_name, machine)), None)

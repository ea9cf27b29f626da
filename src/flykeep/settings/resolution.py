"""From the file's tables to the domain's values: presets and `extends` merged key by key, names resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Literal, TypeVar

from flykeep.domain.policy import (
    CleanRule,
    CopyRule,
    DrillRule,
    ExportRule,
    Hook,
    Hooks,
    IfUnavailable,
    KeepRule,
    Policy,
    Schedule,
    SnapshotRule,
    TargetRule,
)
from flykeep.settings.fields import NEVER
from flykeep.settings.model_policies import CopyTable, HooksTable, HookTable, PolicyTable, TargetTable
from flykeep.settings.probes import probe_of

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PolicyChain:
    """The layers of a policy, the strongest first: tables of the file, then perhaps a preset."""

    tables: tuple[tuple[str, PolicyTable], ...]
    preset: str | None


class UnresolvedError(Exception):
    """A name that leads nowhere, or a circle; `path` is the key that holds it."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def chain_of(name: str, tables: Mapping[str, PolicyTable], presets: Mapping[str, Policy]) -> PolicyChain:
    """The layers of policy `name`. A policy that bears a preset's name and extends nothing extends that preset."""
    layers: list[tuple[str, PolicyTable]] = []
    seen: set[str] = set()
    at = name
    while at in tables and at not in seen:
        table = tables[at]
        layers.append((at, table))
        seen.add(at)
        parent = table.extends or (at if at in presets else None)
        if parent is None:
            return PolicyChain(tuple(layers), None)
        if parent in presets and (parent not in tables or parent in seen):
            return PolicyChain(tuple(layers), parent)
        if parent in seen:
            raise UnresolvedError(("policies", at, "extends"), f"extends in a circle through {parent}")
        if parent not in tables:
            raise UnresolvedError(("policies", at, "extends"), "names no policy and no preset")
        at = parent
    return PolicyChain(tuple(layers), name if name in presets else None)


def resolve_policy(name: str, *, tables: Mapping[str, PolicyTable], presets: Mapping[str, Policy]) -> Policy:
    """The policy called `name` with everything it inherits; raises UnresolvedError.

    A preset's export is kept only where the policy says to which stores it goes.
    """
    chain = chain_of(name, tables, presets)
    policy = replace(presets[chain.preset], name=name) if chain.preset else Policy(name)
    timezone = next((table.timezone for _, table in chain.tables if table.timezone), None)
    for _, table in reversed(chain.tables):
        policy = _overlay(policy, table)
    policy = _in_zone(policy, timezone) if timezone else policy
    if not policy.copies and not _asks_for_export(chain):
        policy = replace(policy, export=ExportRule(source=policy.export.source))
    return policy


def _asks_for_export(chain: PolicyChain) -> bool:
    return any(table.export.cron or table.export.max_age for _, table in chain.tables)


def _overlay(base: Policy, table: PolicyTable) -> Policy:
    snapshot, export, drill = base.snapshot, base.export, base.drill
    return replace(
        base,
        snapshot=SnapshotRule(
            schedule=_schedule(table.snapshot.cron, snapshot.schedule),
            max_age=_age(table.snapshot.max_age, snapshot.max_age),
            retention_days=_or(table.snapshot.retention_days, snapshot.retention_days),
            is_automatic_wanted=_or(table.snapshot.automatic, snapshot.is_automatic_wanted),
            max_pending=_or(table.snapshot.max_pending, snapshot.max_pending),
        ),
        export=ExportRule(
            schedule=_schedule(table.export.cron, export.schedule),
            max_age=_age(table.export.max_age, export.max_age),
            source=_or(table.export.source, export.source),
        ),
        drill=DrillRule(
            schedule=_schedule(table.drill.cron, drill.schedule),
            max_age=_age(table.drill.max_age, drill.max_age),
            is_asked=drill.is_asked or table.drill.cron is not None or table.drill.max_age is not None,
        ),
        copies=base.copies if table.copies is None else tuple(_copy(copy) for copy in table.copies),
        remind_every=_or(table.remind_every, base.remind_every),
        new_volume_grace=_or(table.new_volume_grace, base.new_volume_grace),
        is_alarming=_or(table.alarming, base.is_alarming),
    )


def _in_zone(policy: Policy, timezone: str) -> Policy:
    def moved(schedule: Schedule | None) -> Schedule | None:
        return Schedule(schedule.cron, timezone) if schedule else None

    return replace(
        policy,
        timezone=timezone,
        snapshot=replace(policy.snapshot, schedule=moved(policy.snapshot.schedule)),
        export=replace(policy.export, schedule=moved(policy.export.schedule)),
        drill=replace(policy.drill, schedule=moved(policy.drill.schedule)),
    )


def _schedule(cron: str | None, inherited: Schedule | None) -> Schedule | None:
    if cron is None:
        return inherited
    return None if cron == NEVER else Schedule(cron)


def _age(value: timedelta | Literal["never"] | None, inherited: timedelta | None) -> timedelta | None:
    if value is None:
        return inherited
    return value if isinstance(value, timedelta) else None


def _or(value: _T | None, inherited: _T) -> _T:
    return inherited if value is None else value


def _copy(table: CopyTable) -> CopyRule:
    keep = table.keep
    return CopyRule(
        table.store,
        KeepRule(
            last=keep.last,
            daily=keep.daily,
            weekly=keep.weekly,
            monthly=keep.monthly,
            yearly=keep.yearly,
            within=keep.within,
            min=keep.min,
        ),
    )


def resolve_target(table: TargetTable, policy: Policy) -> TargetRule:
    """The rule a `[[targets]]` table stands for."""
    return TargetRule(
        match=table.match,
        policy=policy,
        mount=table.mount,
        include=table.include,
        exclude=table.exclude,
        instances=table.instances,
        hooks=_hooks(table.hooks),
        probes=tuple(map(probe_of, table.probes)),
        clean=tuple(CleanRule(rule.glob, rule.older_than) for rule in table.clean),
    )


def _hooks(table: HooksTable) -> Hooks:
    return Hooks(
        before_snapshot=_hook(table.before_snapshot),
        after_snapshot=_hook(table.after_snapshot),
        before_export=_hook(table.before_export),
        after_export=_hook(table.after_export),
    )


def _hook(table: HookTable | None) -> Hook | None:
    if table is None:
        return None
    return Hook(
        run=table.run,
        timeout=table.timeout,
        if_unavailable=IfUnavailable(table.if_unavailable),
        makes_consistent=table.makes_consistent,
    )


def all_policies(
    tables: Mapping[str, PolicyTable], presets: Mapping[str, Policy]
) -> tuple[Mapping[str, Policy], tuple[UnresolvedError, ...]]:
    """Every policy by name, presets included, and what could not be resolved."""
    policies: dict[str, Policy] = {}
    unresolved: list[UnresolvedError] = []
    for name in (*presets, *(name for name in tables if name not in presets)):
        try:
            policies[name] = resolve_policy(name, tables=tables, presets=presets)
        except UnresolvedError as error:
            unresolved.append(error)
    return MappingProxyType(policies), tuple(unresolved)

"""The effective configuration, every value with where it comes from, and no secret in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from urllib.parse import urlsplit

from pydantic import BaseModel

from flykeep.domain.policy import CopyRule, Policy, Schedule
from flykeep.domain.presets import PRESETS
from flykeep.settings.assembly import API_BASE_URL, FLAPS_BASE_URL
from flykeep.settings.durations import format_duration
from flykeep.settings.origins import dotted
from flykeep.settings.resolution import PolicyChain, chain_of
from flykeep.settings.secret_reader import TOKEN_NAMES
from flykeep.settings.toml_lines import Path
from flykeep.settings.values import Settings

DEFAULT = "default"
REDACTED = "(redacted)"
_SECRET_LOOKING = re.compile(r"token|passw|secret|key|credential|identity|auth", re.IGNORECASE)
_PLAIN_TABLES = ("fly", "scratch", "state", "http", "encryption", "worker", "retention", "verify", "daemon")


@dataclass(frozen=True, slots=True)
class Shown:
    """One effective value; `origin` is `file:line`, a variable's name, `preset NAME` or `default`."""

    key: str
    value: str | int | bool | tuple[str, ...] | None
    origin: str


def show(settings: Settings) -> tuple[Shown, ...]:
    """Every effective value, in the order of the file's tables."""
    model = settings.source
    entries = [*_environment(settings)]
    for name in _PLAIN_TABLES:
        entries += _table(settings, (name,), getattr(model, name))
    for name, store in model.stores.items():
        entries += _table(settings, ("stores", name), store)
    for notifier in settings.notifiers:
        path: Path = ("notifiers", notifier.name)
        entries += _leaf(settings, (*path, "type"), notifier.type)
        for key, value in notifier.table.items():
            entries += _leaf(settings, (*path, key), value)
    used = dict.fromkeys([*model.policies, *(rule.policy.name for rule in settings.targets)])
    for name in used:
        entries += _policy(settings, settings.policies[name])
    for index, target in enumerate(model.targets):
        entries += _set_only(settings, ("targets", index), target)
    return tuple(entries)


def _environment(settings: Settings) -> Iterator[Shown]:
    name = next((name for name in TOKEN_NAMES if settings.secrets.is_set(name)), None)
    yield Shown(name or TOKEN_NAMES[-1], REDACTED if name else None, "environment" if name else DEFAULT)
    for variable, url, default in (
        ("FLY_FLAPS_BASE_URL", settings.fly.flaps_base_url, FLAPS_BASE_URL),
        ("FLY_API_BASE_URL", settings.fly.api_base_url, API_BASE_URL),
    ):
        yield Shown(variable, _without_credentials(url), DEFAULT if url == default else "environment")


def _table(settings: Settings, path: Path, table: BaseModel) -> Iterator[Shown]:
    """Every key of a table, defaults too."""
    for key in type(table).model_fields:
        yield from _leaf(settings, (*path, key), getattr(table, key))


def _set_only(settings: Settings, path: Path, table: BaseModel) -> Iterator[Shown]:
    """The keys somebody set, tables within tables too."""
    for key in sorted(table.model_fields_set, key=list(type(table).model_fields).index):
        value = getattr(table, key)
        members = enumerate(value) if isinstance(value, tuple) else ()
        if isinstance(value, BaseModel):
            yield from _set_only(settings, (*path, key), value)
        elif any(isinstance(member, BaseModel) for _, member in members):
            for index, member in enumerate(value):
                yield from _set_only(settings, (*path, key, index), member)
        else:
            yield from _leaf(settings, (*path, key), value)


def _leaf(settings: Settings, path: Path, value: object, *, origin: str | None = None) -> Iterator[Shown]:
    yield Shown(dotted(path), _plain(str(path[-1]), value), origin or settings.origins.find(path) or DEFAULT)


def _policy(settings: Settings, policy: Policy) -> Iterator[Shown]:
    chain = chain_of(policy.name, settings.source.policies, PRESETS)
    path: Path = ("policies", policy.name)
    snapshot, obstacle = policy.snapshot, settings.drill_means.obstacle
    leaves: list[tuple[Path, object]] = [
        (("timezone",), _timezone(policy)),
        (("snapshot", "cron"), snapshot.schedule),
        (("snapshot", "max_age"), snapshot.max_age),
        (("snapshot", "retention_days"), snapshot.retention_days),
        (("snapshot", "automatic"), snapshot.is_automatic_wanted),
        (("snapshot", "max_pending"), snapshot.max_pending),
        (("export", "cron"), policy.export.schedule),
        (("export", "max_age"), policy.export.max_age),
        (("export", "source"), policy.export.source),
        (("drill", "cron"), policy.drill.schedule),
        (("drill", "max_age"), policy.drill.max_age),
        (("copies",), policy.copies),
        (("remind_every",), policy.remind_every),
        (("new_volume_grace",), policy.new_volume_grace),
        (("alarming",), policy.is_alarming),
    ]
    for leaf, value in leaves:
        origin = _origin_in(settings, chain, leaf)
        note = f" (cannot run here: {obstacle})" if leaf[0] == "drill" and value and obstacle else ""
        yield from _leaf(settings, (*path, *leaf), value, origin=origin + note)


def _timezone(policy: Policy) -> str:
    rules = (policy.snapshot, policy.export, policy.drill)
    return next((rule.schedule.timezone for rule in rules if rule.schedule), "UTC")


def _origin_in(settings: Settings, chain: PolicyChain, leaf: Path) -> str:
    """The strongest layer that says something about this key."""
    for name, _ in chain.tables:
        found = settings.origins.find(("policies", name, *leaf))
        if found:
            return found
    return f"preset {chain.preset}" if chain.preset and leaf != ("timezone",) else DEFAULT


def _plain(key: str, value: object) -> str | int | bool | tuple[str, ...] | None:
    """A value as text for people; None stays None."""
    match value:
        case None | bool() | int():
            return value
        case Mapping():
            return tuple(f"{name} = {_plain(str(name), inner)}" for name, inner in value.items())
        case list() | tuple():
            return tuple(str(_plain(key, member)) for member in value)
        case _:
            return _text(key, _words(value))


def _words(value: object) -> str:
    match value:
        case timedelta():
            return format_duration(value)
        case Schedule():
            return value.cron
        case CopyRule():
            return f"{value.store} ({_kept(value)})"
        case _:
            return str(value)


def _text(key: str, text: str) -> str:
    if not key.endswith("_secret") and _SECRET_LOOKING.search(key):
        return REDACTED
    return _without_credentials(text)


def _without_credentials(text: str) -> str:
    """A URL without what may stand before the @ or behind the ?."""
    if "://" not in text:
        return text
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{REDACTED}@{host}" if "@" in parts.netloc else host
    return f"{parts.scheme}://{netloc}{parts.path}" + (f"?{REDACTED}" if parts.query else "")


def _kept(rule: CopyRule) -> str:
    keep = rule.keep
    words = []
    for field in fields(keep):
        value = getattr(keep, field.name)
        if value:
            words.append(f"{field.name} {format_duration(value) if isinstance(value, timedelta) else value}")
    return ", ".join(words)

"""Judges a configuration offline: what cannot hold is an error, what is likely not meant a warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from flykeep.domain.cadence import longest_gap
from flykeep.domain.errors import ConfigError
from flykeep.domain.policy import Policy
from flykeep.ports.plugin import NotifierPlugin
from flykeep.settings.durations import format_duration
from flykeep.settings.origins import dotted
from flykeep.settings.secret_reader import TOKEN_NAMES
from flykeep.settings.toml_lines import Path
from flykeep.settings.values import Level, Problem, Settings

AUTOMATIC_EVERY = timedelta(hours=24)
"""Fly takes its own snapshots daily. Source: fly/fly-api.md, snapshots."""

FLY_KILL_TIMEOUT = timedelta(seconds=300)


def check_settings(settings: Settings, *, plugins: Mapping[str, NotifierPlugin] | None = None) -> tuple[Problem, ...]:
    """Everything doubtful about a configuration that could be loaded, errors first.

    `plugins` judge the notifiers' own tables; without them these are taken as they are. Secrets need not be set: a
    missing one is a warning. Nothing outside this process is asked.
    """
    found = [
        *(problem for name in _policies_in_use(settings) for problem in _check_policy(settings, name)),
        *_check_targets(settings),
        *_check_notifiers(settings, plugins or {}),
        *_check_stores(settings),
        *_check_daemon(settings),
        *_check_verify(settings),
        *_check_secrets(settings),
    ]
    order = list(Level)
    return tuple(sorted(found, key=lambda problem: order.index(problem.level)))


def _problem(settings: Settings, level: Level, path: Path, message: str, hint: str = "") -> Problem:
    return Problem(level, dotted(path), message, settings.origins.nearest(path), hint)


def _policies_in_use(settings: Settings) -> tuple[str, ...]:
    """Those of the file, and the presets that targets name."""
    return tuple(dict.fromkeys([*settings.source.policies, *(rule.policy.name for rule in settings.targets)]))


def _check_policy(settings: Settings, name: str) -> Iterator[Problem]:
    policy = settings.policies[name]
    yield from _check_snapshots(settings, policy)
    yield from _check_exports(settings, policy)
    yield from _check_keep(settings, policy)
    yield from _check_platform(settings, policy)
    yield from _check_drills(settings, policy)


def _check_snapshots(settings: Settings, policy: Policy) -> Iterator[Problem]:
    rule = policy.snapshot
    path: Path = ("policies", policy.name, "snapshot")
    gaps = [longest_gap(rule.schedule)] if rule.schedule else []
    gaps += [AUTOMATIC_EVERY] if rule.is_automatic_wanted else []
    yield from _check_age(settings, path, max_age=rule.max_age, gap=min(gaps, default=None))
    if rule.max_age and rule.retention_days and timedelta(days=rule.retention_days) <= rule.max_age:
        yield _problem(
            settings,
            Level.ERROR,
            (*path, "retention_days"),
            f"lets snapshots expire before max_age ({format_duration(rule.max_age)}) can find them",
            "Keep them for longer than max_age.",
        )


def _check_exports(settings: Settings, policy: Policy) -> Iterator[Problem]:
    rule = policy.export
    path: Path = ("policies", policy.name, "export")
    gap = longest_gap(rule.schedule) if rule.schedule else None
    yield from _check_age(settings, path, max_age=rule.max_age, gap=gap)
    if policy.copies and not rule.schedule:
        message = "copies are wanted, but no export is scheduled"
        yield _problem(settings, Level.WARNING, path, message, "Give export a cron expression.")


def _check_keep(settings: Settings, policy: Policy) -> Iterator[Problem]:
    for index, copy in enumerate(policy.copies):
        if copy.keep.is_empty and copy.keep.min > 1:
            path: Path = ("policies", policy.name, "copies", index, "keep")
            message = "has only min, which limits the other keys: nothing is ever removed"
            yield _problem(settings, Level.WARNING, path, message, "Say what to keep: last, daily, weekly or within.")


def _check_platform(settings: Settings, policy: Policy) -> Iterator[Problem]:
    if policy.is_kept_on_platform_only:
        names = " and ".join(copy.store for copy in policy.copies)
        message = f"go to {names} only, which is lost together with the Fly account: nothing leaves the platform"
        hint = "Add a copy in a store that somebody else runs."
        yield _problem(settings, Level.WARNING, ("policies", policy.name, "copies"), message, hint)


def _check_drills(settings: Settings, policy: Policy) -> Iterator[Problem]:
    rule = policy.drill
    path: Path = ("policies", policy.name, "drill")
    gap = longest_gap(rule.schedule) if rule.schedule else None
    yield from _check_age(settings, path, max_age=rule.max_age, gap=gap)
    obstacle = settings.drill_means.obstacle
    if rule.is_wanted and obstacle:
        # A preset's wish is not the operator's: it is told, and who trusts a signer may rehearse elsewhere.
        is_missed = rule.is_asked and not settings.drill.trusted_signers
        level = Level.WARNING if is_missed else Level.INFO
        hint = "Set [worker] image or identity_secret, or rehearse restores elsewhere and trust its public key."
        yield _problem(settings, level, path, f"no drill can run here: {obstacle}", hint)


def _check_age(
    settings: Settings, path: Path, *, max_age: timedelta | None, gap: timedelta | None
) -> Iterator[Problem]:
    if gap is not None and max_age is not None and max_age <= gap:
        yield _problem(
            settings,
            Level.ERROR,
            (*path, "max_age"),
            f"is {format_duration(max_age)}, but its schedule leaves up to {format_duration(gap)} between two",
            f"Allow more than {format_duration(gap)}, with room for a late run.",
        )
    elif gap is None and max_age is not None:
        message = "is judged, but nothing is scheduled that would renew it"
        yield _problem(settings, Level.WARNING, (*path, "max_age"), message, "Give it a cron expression.")
    elif gap is not None and max_age is None:
        message = "is scheduled, but its age is not judged: a failure would go unnoticed"
        yield _problem(settings, Level.WARNING, path, message, "Give it a max_age.")


def _check_targets(settings: Settings) -> Iterator[Problem]:
    if not settings.targets:
        message = "is empty: every volume will be reported as unprotected"
        yield _problem(settings, Level.WARNING, ("targets",), message, "Add [[targets]] with match and policy.")
    seen: dict[str, int] = {}
    for index, rule in enumerate(settings.targets):
        first = seen.setdefault(rule.match, index)
        if first != index:
            message = f"is never reached: targets[{first}] matches the same"
            yield _problem(settings, Level.WARNING, ("targets", index, "match"), message, "The first match wins.")


def _check_notifiers(settings: Settings, plugins: Mapping[str, NotifierPlugin]) -> Iterator[Problem]:
    if not settings.notifiers:
        message = "is empty: nobody would be told of anything"
        yield _problem(settings, Level.WARNING, ("notifiers",), message, "Add [notifiers.NAME] with a type.")
    for notifier in settings.notifiers:
        plugin = plugins.get(notifier.type)
        if plugin is None:
            continue
        try:
            plugin.validate(notifier.name, notifier.table)
        except ConfigError as error:
            path: Path = ("notifiers", notifier.name)
            key, _, message = error.message.partition(": ")
            name = key.removeprefix(f"{dotted(path)}.")
            exact: Path = (*path, name) if name != key else path
            yield _problem(settings, Level.ERROR, exact, message if name != key else error.message, error.next_step)


def _check_stores(settings: Settings) -> Iterator[Problem]:
    used = {copy.store for policy in settings.policies.values() for copy in policy.copies}
    for name in settings.stores:
        if name not in used:
            message = "is used by no policy's copies"
            yield _problem(settings, Level.WARNING, ("stores", name), message, "Nothing would be exported to it.")


def _check_daemon(settings: Settings) -> Iterator[Problem]:
    if settings.daemon.drain_timeout >= FLY_KILL_TIMEOUT:
        message = "leaves no time to stop: Fly kills a machine 5m after asking it to stop"
        yield _problem(settings, Level.WARNING, ("daemon", "drain_timeout"), message, "Stay below 5m.")
    interval = longest_gap(settings.daemon.check)
    for name in _policies_in_use(settings):
        for kind in ("snapshot", "export", "drill"):
            max_age = getattr(settings.policies[name], kind).max_age
            if max_age is not None and max_age <= interval:
                path: Path = ("policies", name, kind, "max_age")
                message = f"is not above {format_duration(interval)}, the time between two checks"
                yield _problem(settings, Level.ERROR, path, message, "Check more often: daemon.check_every.")


def _check_verify(settings: Settings) -> Iterator[Problem]:
    table = settings.verify
    if table.schedule is not None and table.max_age is not None and table.max_age <= longest_gap(table.schedule):
        message = f"is not above {format_duration(longest_gap(table.schedule))}, the time between two verifications"
        yield _problem(settings, Level.ERROR, ("verify", "max_age"), message, "Verify more often, or raise it.")


def _check_secrets(settings: Settings) -> Iterator[Problem]:
    for path, name in _secret_names(settings):
        if not settings.secrets.is_set(name):
            hint = f"Set the variable {name}, or {name}_FILE, where flykeep runs."
            yield _problem(settings, Level.WARNING, path, f"{name} is not set here", hint)
    if not any(settings.secrets.is_set(name) for name in TOKEN_NAMES):
        hint = "Make one with `fly tokens create org` and set FLY_API_TOKEN where flykeep runs."
        yield Problem(Level.WARNING, "", "the Fly token is not set here", None, hint)


def _secret_names(settings: Settings) -> Iterator[tuple[Path, str]]:
    for name, store in settings.stores.items():
        for key in ("access_key_id_secret", "secret_access_key_secret"):
            yield from _named(("stores", name, key), getattr(store, key))
    for notifier in settings.notifiers:
        for key, value in notifier.table.items():
            if key.endswith("_secret"):
                yield from _named(("notifiers", notifier.name, key), value)
    yield from _named(("encryption", "identity_secret"), settings.encryption.identity_secret)
    yield from _named(("state", "url_secret"), settings.state.url_secret)


def _named(path: Path, name: object) -> Iterator[tuple[Path, str]]:
    if isinstance(name, str) and name.replace("_", "").isalnum():
        yield path, name

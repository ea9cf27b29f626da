"""Extensions found through entry points; only those the configuration names are loaded."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points

from flykeep.domain.errors import PluginError
from flykeep.ports.plugin import NotifierPlugin

NOTIFIER_GROUP = "flykeep.notifiers"


def load_notifiers(types: Iterable[str]) -> dict[str, NotifierPlugin]:
    """The plugin of each type, keyed by type.

    Raises PluginError for a type nobody provides or two packages provide, and, naming the package that brought it,
    for one that can't be imported or is not a notifier.
    """
    found = _by_type()
    return {type_: _load(type_, found) for type_ in dict.fromkeys(types)}


def available_notifiers() -> tuple[tuple[str, str], ...]:
    """Every notifier type that is installed, with the package that brings it; nothing is imported."""
    return tuple((type_, _package(entry)) for type_, entries in sorted(_by_type().items()) for entry in entries)


def _by_type() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=NOTIFIER_GROUP):
        entries = found.setdefault(entry.name, [])
        if (entry.value, _package(entry)) not in [(other.value, _package(other)) for other in entries]:
            entries.append(entry)
    return found


def _load(type_: str, found: dict[str, list[EntryPoint]]) -> NotifierPlugin:
    entries = found.get(type_, [])
    if not entries:
        close = get_close_matches(type_, found, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Installed: {', '.join(sorted(found)) or 'none'}."
        raise PluginError(f"no installed package brings the notifier type {type_!r}", hint=hint)
    if len(entries) > 1:
        packages = " and ".join(sorted(_package(entry) for entry in entries))
        raise PluginError(f"the notifier type {type_!r} is brought by {packages}", hint="Uninstall one of them.")
    return _imported(entries[0])


def _imported(entry: EntryPoint) -> NotifierPlugin:
    package = _package(entry)
    try:
        plugin = entry.load()
    except Exception as error:
        raise PluginError(
            f"the notifier {entry.name!r} of the package {package} can't be loaded: {type(error).__name__}: {error}",
            hint=f"Update or uninstall {package}.",
        ) from error
    if not isinstance(plugin, NotifierPlugin) or plugin.type != entry.name:
        raise PluginError(
            f"the entry point {entry.name!r} of the package {package} is not a notifier of that type",
            hint=f"Update or uninstall {package}.",
        )
    return plugin


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown package"

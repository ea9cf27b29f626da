"""How an extension describes itself; found through entry points, built only when the configuration names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flykeep.ports.clock import Clock
from flykeep.ports.notifier import Notifier


@dataclass(frozen=True, slots=True)
class NotifierDeps:
    """What a notifier may use: its clock, and a way to resolve a secret's name to its value."""

    clock: Clock
    secret: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class NotifierPlugin:
    """`build` gets the notifier's name and its raw table of the configuration, and validates it itself.

    Keys ending in `_secret` hold the NAME of a secret. Raises ConfigError for a table it does not accept.
    """

    type: str
    summary: str
    build: Callable[[str, Mapping[str, object], NotifierDeps], Notifier]
    validate: Callable[[str, Mapping[str, object]], None]

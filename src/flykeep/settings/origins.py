"""Where each value of a configuration comes from: a line of the file or a variable of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flykeep.settings.toml_lines import Path as KeyPath
from flykeep.settings.toml_lines import key_lines

PREFIX = "FLYKEEP_"
DELIMITER = "__"


@dataclass(frozen=True, slots=True)
class Origins:
    """Answers for key paths such as `("stores", "offsite", "bucket")`; list positions are numbers."""

    file: Path | None
    lines: Mapping[KeyPath, int]
    variables: Mapping[KeyPath, str]

    @classmethod
    def of(cls, *, file: Path | None, text: str, environ: Mapping[str, str]) -> Origins:
        """From a valid TOML text and the environment that beats it."""
        variables: dict[KeyPath, str] = {
            tuple(name.removeprefix(PREFIX).lower().split(DELIMITER)): name
            for name in environ
            if name.startswith(PREFIX)
        }
        return cls(file, key_lines(text), variables)

    def find(self, path: KeyPath) -> str | None:
        """`file:line` or the variable's name; None where nobody set this key.

        A variable that holds a whole table or list as JSON answers for every key that the file does not set.
        """
        if path in self.variables:
            return self.variables[path]
        if path in self.lines:
            return f"{self.file}:{self.lines[path]}"
        return next(
            (self.variables[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.variables), None
        )

    def nearest(self, path: KeyPath) -> str | None:
        """The origin of this key or of the closest table around it; else the file."""
        found = next(filter(None, (self.find(path[:end]) for end in range(len(path), 0, -1))), None)
        return found or (str(self.file) if self.file else None)

    def unknown_variables(self, tables: frozenset[str]) -> tuple[str, ...]:
        """Variables that look like keys of the file, but of no table it has."""
        return tuple(name for path, name in self.variables.items() if len(path) > 1 and path[0] not in tables)


def dotted(path: KeyPath) -> str:
    """`targets[2].policy`: a key path as people read it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text

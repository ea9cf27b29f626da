"""Which paths of a volume an export takes: globs from the volume's root, pure decisions.

`*`, `?` and `[...]` stay within one path component, `**` as a component crosses them. A pattern that matches a
directory means the whole tree below it; `dir/**` includes the directory itself, and excludes only what is inside it.
`lost+found` and flykeep's own folders at the root are left out unless an include names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flykeep.domain.errors import ConfigError

_MAGIC = re.compile(r"[*?\[]")
_NOT_ITS_OWN = ("lost+found", ".flykeep-import-*", ".flykeep-old-*")
"""The file system's folder, and what imports keep until confirmed: replaced content, as much again."""
_OPERAND_LIMIT_BYTES = 1 << 20  # Linux allows two MiB of arguments and environment together
_OPERAND_COST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Pattern:
    """One glob, without leading `./` or `/`."""

    text: str

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Raises ConfigError for a pattern that is empty or leaves the volume."""
        parts = [part for part in text.split("/") if part not in {"", "."}]
        if not parts or ".." in parts or "\0" in text:
            raise ConfigError(f"{text!r} is not a path inside the volume", hint='Write it like "agents/**".')
        return cls("/".join(parts))

    @property
    def tree(self) -> Pattern:
        """The same as an include reads it: `dir/**` is `dir`."""
        trimmed = self.text
        while trimmed.endswith("/**"):
            trimmed = trimmed[:-3]
        return Pattern(trimmed)

    @property
    def is_literal(self) -> bool:
        return not _MAGIC.search(self.text)

    @property
    def fixed_root(self) -> str:
        """The longest leading path without wildcards; empty for the volume's root."""
        parts = self.text.split("/")
        fixed = [part for part, _ in zip(parts, _until_magic(parts), strict=False)]
        return "/".join(fixed)

    @property
    def regex(self) -> re.Pattern[bytes]:
        """Matches whole relative paths, as bytes."""
        parts = self.text.split("/")
        pieces = [_component(part, is_last=at == len(parts) - 1) for at, part in enumerate(parts)]
        return re.compile("".join(pieces).encode("utf-8", "surrogateescape"), re.DOTALL)

    def gnu_exclude(self) -> tuple[str, ...] | None:
        """The options that make GNU tar exclude exactly this, or None where it cannot be said."""
        text, is_anchored = self.text, True
        while text.startswith("**/"):
            text, is_anchored = text[3:], False
        if text.endswith("/**"):
            text = text[:-3] + "/*"
        if "**" in text.split("/"):
            return None
        text = text.replace("\\", "\\\\")
        return ("--anchored", f"--exclude=./{text}") if is_anchored else ("--no-anchored", f"--exclude={text}")


@dataclass(frozen=True, slots=True)
class Selection:
    """What an order asks for."""

    include: tuple[Pattern, ...]
    exclude: tuple[Pattern, ...]

    @classmethod
    def of(cls, include: Sequence[str], exclude: Sequence[str]) -> Selection:
        """Raises ConfigError for a pattern that cannot be one."""
        return cls(
            include=tuple(Pattern.of(text).tree for text in include),
            exclude=tuple(Pattern.of(text) for text in exclude),
        )

    @property
    def is_whole(self) -> bool:
        return not self.include

    def gnu_excludes(self) -> tuple[str, ...] | None:
        """Options for GNU tar, or None where one pattern is beyond it."""
        options = ["--wildcards", "--no-wildcards-match-slash"]
        for pattern in self.excluded:
            said = pattern.gnu_exclude()
            if said is None:
                return None
            options += said
        return tuple(options)

    def roots(self) -> tuple[str, ...]:
        """The paths whose listing decides the includes: each literal, or where a glob's fixed part ends."""
        return tuple(sorted({pattern.fixed_root for pattern in self.include}))

    def resolve(self, listing: Iterable[bytes]) -> tuple[bytes, ...]:
        """The topmost listed paths that some include matches, sorted.

        Raises ConfigError naming every include that matches nothing: storing less than was asked for, unsaid, would be
        worse than failing.
        """
        wanted = [(pattern, pattern.regex) for pattern in self.include]
        unmatched = {pattern.text for pattern in self.include}
        found: set[bytes] = set()
        for path in listing:
            for pattern, regex in wanted:
                if regex.fullmatch(path):
                    found.add(path)
                    unmatched.discard(pattern.text)
        if unmatched:
            names = ", ".join(sorted(unmatched))
            raise ConfigError(
                f"nothing on the volume matches {names}", hint="Correct `include`, or remove what no longer exists."
            )
        return topmost(found)

    def cover(self, operands: Iterable[bytes], listing: Iterable[bytes]) -> tuple[bytes, ...]:
        """Operands that together hold exactly what is not excluded, for a tar that cannot exclude by itself.

        `listing` is everything below `operands`. Directories that hold something excluded are not operands themselves.
        """
        regexes = [pattern.regex for pattern in self.excluded]
        paths = set(listing)
        excluded = {path for path in paths if any(regex.fullmatch(path) for regex in regexes)}
        broken = {parent for path in excluded for parent in parents(path)}
        tops = {top for top in operands if top}
        kept = (
            path
            for path in paths
            if path not in broken
            and path not in excluded
            and (path in tops or parent(path) in broken or (not tops and b"/" not in path))
            and not any(above in excluded for above in parents(path))
        )
        return topmost(kept)

    @property
    def excluded(self) -> tuple[Pattern, ...]:
        """What is left out; of a whole volume also what is not the application's: see `_NOT_ITS_OWN`."""
        return (*map(Pattern, _NOT_ITS_OWN), *self.exclude) if self.is_whole else self.exclude


def topmost(paths: Iterable[bytes]) -> tuple[bytes, ...]:
    """Those that lie below no other, sorted. Raises ConfigError when they are too many for a command line."""
    every = set(paths)
    kept = sorted(path for path in every if not any(above in every for above in parents(path)))
    if sum(len(path) + _OPERAND_COST_BYTES for path in kept) > _OPERAND_LIMIT_BYTES:
        raise ConfigError(
            f"the patterns match {len(kept)} separate paths, more than one command line holds",
            hint="Name directories instead of single files, or install GNU tar on the machine.",
        )
    return tuple(kept)


def parent(path: bytes) -> bytes:
    """Empty for a path at the volume's root."""
    return path.rpartition(b"/")[0]


def parents(path: bytes) -> Iterable[bytes]:
    """Every directory above, nearest first, the volume's root left out."""
    while path := parent(path):
        yield path


def _until_magic(parts: Sequence[str]) -> Iterable[str]:
    for part in parts:
        if _MAGIC.search(part):
            return
        yield part


def _component(part: str, *, is_last: bool) -> str:
    if part == "**":
        return ".+" if is_last else "(?:[^/]+/)*"
    return _translated(part) + ("" if is_last else "/")


def _translated(part: str) -> str:
    """One component of a glob as a regular expression."""
    pieces: list[str] = []
    at = 0
    while at < len(part):
        letter = part[at]
        at += 1
        if letter == "*":
            pieces.append("[^/]*")
        elif letter == "?":
            pieces.append("[^/]")
        elif letter == "[" and (end := part.find("]", at + 1 + (part[at : at + 1] == "!"))) > 0:
            pieces.append(_letter_class(part[at:end]))
            at = end + 1
        else:
            pieces.append(re.escape(letter))
    return "".join(pieces)


def _letter_class(body: str) -> str:
    negation, body = ("^", body[1:]) if body[0] in "!^" else ("", body)
    return f"[{negation}{body.replace(chr(92), chr(92) * 2).replace('[', chr(92) + '[')}]"

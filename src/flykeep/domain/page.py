"""A page of commands for people: text, and blocks to copy, each with what comes after it and what to do otherwise."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BLOCK = re.compile(r"^```sh ([a-z0-9_-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(slots=True)
class PageWriter:
    """Grows a page from top to bottom. Each block has a name, by which programs find it again."""

    _parts: list[str] = field(default_factory=list)

    def text(self, *sentences: str) -> None:
        """One paragraph, a line for each sentence; no name in it can begin a line."""
        self._parts.append("\n".join(_line(each) for each in sentences))

    def example(self, *lines: str) -> None:
        """What is to be written into a file, not into a shell."""
        self._parts.append("\n".join(["```text", *lines, "```"]))

    def items(self, lines: Iterable[str]) -> None:
        """A list; nothing where there are none."""
        listed = [f"- {_line(line)}" for line in lines]
        if listed:
            self._parts.append("\n".join(listed))

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table; nothing where it has no rows."""
        shown = [f"| {' | '.join(map(_line, row))} |" for row in rows]
        if shown:
            self._parts.append("\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *shown]))

    def block(self, name: str, *lines: str, expect: str, otherwise: Sequence[str]) -> None:
        """Commands to copy as they are; no line of them may begin with three back-quotes."""
        self._parts.append("\n".join([f"```sh {name}", *lines, "```"]))
        self.text(f"*Expect:* {expect}")
        self.text("*If not:*")
        self.items(otherwise)

    def whole(self) -> str:
        """The page; half a surrogate pair, which no file can hold, stands there as JSON writes it."""
        text = "\n\n".join(self._parts) + "\n"
        return text.encode("utf-8", "backslashreplace").decode()


def command_blocks(page: str) -> Mapping[str, str]:
    """The blocks of a page by name, in the order in which they stand there."""
    return dict(_BLOCK.findall(page))


def quoted(text: str) -> str:
    """One word on one line for bash or zsh, whatever is in it."""
    if not _CONTROL.search(text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", escaped) + "'"


def quoted_again(command: str) -> str:
    """A command as one word for another shell; in the kind of quotes that leaves it readable, where one does."""
    if _CONTROL.search(command):
        return quoted(command)
    if "'" not in command:
        return f"'{command}'"
    if not set(command) & set('"$`!' + "\\"):
        return f'"{command}"'
    return quoted(command)


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text)

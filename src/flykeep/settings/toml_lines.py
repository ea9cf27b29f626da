"""On which line of a TOML file each key stands; the standard parser does not tell.

Runs only on text that tomllib has accepted, so it looks for keys and skips values without judging them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]*")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)


def key_lines(text: str) -> Mapping[Path, int]:
    """Every key path of a valid TOML document with the line, from 1, where it is first written."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.scan_document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._table: Path = ()
        self._array_sizes: dict[Path, int] = {}
        self._line_starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def scan_document(self) -> None:
        self._skip_blank()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                self._scan_header()
            else:
                self._scan_assignment(self._table)
            self._skip_blank()

    def _scan_header(self) -> None:
        line = self._line()
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        *parents, last = self._scan_key()
        self._at += 2 if is_array else 1
        path: Path = ()
        for part in parents:
            path = self._step(path, part)
            self.lines.setdefault(path, line)
        if is_array:
            array = (*path, last)
            index = self._array_sizes.get(array, 0)
            self._array_sizes[array] = index + 1
            self.lines.setdefault(array, line)
            self._table = (*array, index)
        else:
            self._table = self._step(path, last)
        self.lines.setdefault(self._table, line)

    def _step(self, path: Path, part: str) -> Path:
        """Into the table `part`; where that is an array of tables, into its newest one."""
        inner = (*path, part)
        size = self._array_sizes.get(inner)
        return inner if size is None else (*inner, size - 1)

    def _scan_assignment(self, table: Path) -> None:
        line = self._line()
        path = table
        for part in self._scan_key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip_blank()
        self._scan_value(path)

    def _scan_key(self) -> list[str]:
        """A dotted key, leaving the position at what follows it."""
        parts = []
        while True:
            self._skip_blank()
            if self._text[self._at] in "\"'":
                parts.append(self._scan_string())
            else:
                found = _BARE_KEY.match(self._text, self._at)
                assert found is not None  # tomllib accepted the document
                self._at = found.end()
                parts.append(found.group())
            self._skip_blank()
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _scan_value(self, path: Path) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._scan_string()
        elif first == "[":
            self._scan_list(path)
        elif first == "{":
            self._scan_inline_table(path)
        else:
            found = _BARE_VALUE.match(self._text, self._at)
            self._at = found.end() if found else self._at

    def _scan_list(self, path: Path) -> None:
        self._at += 1
        index = 0
        self._skip_blank()
        while self._text[self._at] != "]":
            self.lines.setdefault((*path, index), self._line())
            self._scan_value((*path, index))
            index += 1
            self._skip_separator()
        self._at += 1

    def _scan_inline_table(self, path: Path) -> None:
        self._at += 1
        self._skip_blank()
        while self._text[self._at] != "}":
            self._scan_assignment(path)
            self._skip_separator()
        self._at += 1

    def _scan_string(self) -> str:
        quote = self._text[self._at]
        is_long = self._text.startswith(quote * 3, self._at)
        mark = quote * 3 if is_long else quote
        start = self._at + len(mark)
        end = start
        while not self._text.startswith(mark, end):
            end += 2 if quote == '"' and self._text[end] == "\\" else 1
        while is_long and self._text.startswith(quote, end + len(mark)):
            end += 1  # quotes right before the closing ones belong to the text
        self._at = end + len(mark)
        body = self._text[start:end]
        return _ESCAPE.sub(_unescape, body) if quote == '"' else body

    def _skip_separator(self) -> None:
        self._skip_blank()
        if self._text[self._at] == ",":
            self._at += 1
        self._skip_blank()

    def _skip_blank(self) -> None:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _line(self) -> int:
        return bisect_right(self._line_starts, self._at)


def _unescape(found: re.Match[str]) -> str:
    code = found.group(1)
    if code[0] in "uU":
        return chr(int(code[1:], 16))
    return {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}.get(code, code)

"""What tar said on its standard error, and whether its exit code may stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from flykeep.domain.errors import SshError, TruncatedStreamError
from flykeep.worker.remote_tar import Flavour

_GNU_NAMED = re.compile(rb"tar: ((?:[^\\:]|\\.)+): (.+)", re.DOTALL)
_GNU_SHRANK = re.compile(rb"File shrank by \d+ bytes?; padding with zeros")
_GNU_READ_ERROR = re.compile(rb"(?:Read error at byte \d+|Cannot (?:open|stat|read|savedir|readlink|seek))")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_BUSYBOX = re.compile(
    rb"tar: (?:can't open '(?P<opened>.+?)'|(?P<name>.+?)): (?P<what>socket ignored|No such file or directory"
    rb"|Permission denied|Input/output error|unknown file type; file ignored)(?:\n|\Z)",
    re.DOTALL,
)
_FAREWELLS = (b"tar: Exiting with failure status", b"tar: error exit delayed", b"tar: Removing leading")
_GNU_CHANGED_ONLY = 1
_COMMAND_NOT_FOUND = 127
_SHOWN_LINES = 3


@dataclass(slots=True)
class Diagnosis:
    """By path as tar printed it: what happened to whom. `unknown` are lines that nobody understood."""

    changed: dict[bytes, str] = field(default_factory=dict)
    skipped: list[bytes] = field(default_factory=list)
    unknown: list[bytes] = field(default_factory=list)


def diagnose(stderr: Sequence[bytes], flavour: Flavour) -> Diagnosis:
    """Sort tar's messages by path. Names are exact: GNU tar is asked to escape them."""
    diagnosis = Diagnosis()
    if flavour is Flavour.GNU:
        for line in stderr:
            _read_gnu(line, diagnosis)
    else:
        _read_busybox(b"\n".join(stderr), diagnosis)
    return diagnosis


def judge(code: int, diagnosis: Diagnosis, flavour: Flavour) -> None:
    """Raise unless this exit code, with these messages, can belong to a usable archive.

    The archive's own end is proven elsewhere. GNU: 0 clean, 1 files changed, 2 only where every message is understood.
    Busybox: 1 is both harmless and fatal, so its messages decide, and the stream's end.
    """
    if code == _COMMAND_NOT_FOUND:
        raise SshError("the machine has no tar", hint="Install tar in the app's image, or export a snapshot.")
    if code == 0 or (flavour is Flavour.GNU and code == _GNU_CHANGED_ONLY):
        return
    is_explained = bool(diagnosis.changed) and not diagnosis.unknown
    if is_explained and code in {1, 2}:
        return
    raise TruncatedStreamError(
        f"tar on the machine ended with {code}: {_excerpt(diagnosis.unknown) or 'it gave no reason'}",
        facts={"exit_code": code},
    )


def _excerpt(lines: Sequence[bytes]) -> str:
    return "; ".join(line.decode("utf-8", "backslashreplace") for line in lines[:_SHOWN_LINES])


def _read_gnu(line: bytes, diagnosis: Diagnosis) -> None:
    if not line or line.startswith(_FAREWELLS):
        return
    named = _GNU_NAMED.fullmatch(line)
    if named is None:
        diagnosis.unknown.append(line)
        return
    path, what = _ESCAPE.sub(_unescape, named.group(1)), named.group(2)
    if what in {b"socket ignored", b"door ignored", b"unknown file type; file ignored"}:
        diagnosis.skipped.append(path)
    elif change := _gnu_change(what):
        if change != "changed" or path not in diagnosis.changed:  # "shrank" says more
            diagnosis.changed[path] = change
    else:
        diagnosis.unknown.append(line)


def _gnu_change(what: bytes) -> str | None:
    if what == b"file changed as we read it":
        return "changed"
    if what == b"File removed before we read it" or what.endswith(b": No such file or directory"):
        return "vanished"
    if _GNU_SHRANK.fullmatch(what):
        return "shrank"
    return "unreadable" if _GNU_READ_ERROR.match(what) else None


def _unescape(found: re.Match[bytes]) -> bytes:
    code = found.group(1)
    return bytes([int(code, 8) & 0xFF]) if len(code) > 1 else _ESCAPES.get(code, code)


def _read_busybox(text: bytes, diagnosis: Diagnosis) -> None:
    """Busybox prints names raw, so a message may span lines: it ends with one of the known endings."""
    at = 0
    while at < len(text):
        found = _BUSYBOX.match(text, at)
        end = text.find(b"\n", at)
        line = text[at:] if end < 0 else text[at:end]
        if found is None or line.startswith(_FAREWELLS) or line == b"tar: short read":
            if line and not line.startswith(_FAREWELLS):
                diagnosis.unknown.append(line)
            at += len(line) + 1
            continue
        at = found.end()
        path, what = found.group("opened") or found.group("name"), found.group("what")
        if what.endswith(b"ignored"):
            diagnosis.skipped.append(path)
        else:
            diagnosis.changed[path] = "vanished" if what.startswith(b"No such") else "unreadable"

"""The shell scripts that read a tree on a machine, for GNU tar and for busybox. None of them pipes or stages anything.

Source: GNU tar manual, "Options"; busybox 1.35 `tar --help`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from flykeep.domain.errors import SshError
from flykeep.worker.selection import parents

PROLOGUE = (
    b"LC_ALL=C; export LC_ALL\n"
    b"unset TAR_OPTIONS POSIXLY_CORRECT\n"
    b"PATH=$PATH:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin; export PATH\n"
)
_DF_USED = re.compile(rb"\s(\d+)\s+(\d+)\s+-?\d+\s+\d+%")


class Flavour(enum.StrEnum):
    GNU = "gnu"
    BUSYBOX = "busybox"


@dataclass(frozen=True, slots=True)
class Probe:
    """What the machine offers. `used_bytes` is the whole filesystem's, None where `df` does not say."""

    flavour: Flavour
    can_exclude: bool
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class Root:
    """A relative path to list: by itself, or with all below it. An empty path is the directory itself."""

    path: bytes
    is_tree: bool


def quoted(text: bytes) -> bytes:
    """One word for a POSIX shell, whatever bytes it holds."""
    return b"'" + text.replace(b"'", b"'\\''") + b"'"


def raw(text: str) -> bytes:
    """A path as the machine knows it."""
    return text.encode("utf-8", "surrogateescape")


def shown(path: bytes) -> str:
    """A path for people and manifests: relative, with surrogate escapes where not UTF-8."""
    trimmed = path.removeprefix(b"./").rstrip(b"/")
    return (trimmed or b".").decode("utf-8", "surrogateescape")


def probe_script(directory: str) -> bytes:
    """Prints facts, one per line; the version texts come last."""
    where = quoted(raw(directory))
    return b"".join(
        (
            PROLOGUE,
            b"if [ -d " + where + b"/. ]; then echo flykeep:directory; fi\n",
            b"echo; df -kP " + where + b"/. 2>/dev/null\n",
            b"if tar --exclude=x -cf - -C /dev null >/dev/null 2>&1; then echo flykeep:exclude; fi\n",
            b"if find / -maxdepth 0 -exec stat -c '%s %Y %n' {} + >/dev/null 2>&1; then echo flykeep:stat; fi\n",
            b"echo flykeep:version; tar --version 2>&1 </dev/null\n",
            b"exit 0\n",
        )
    )


def read_probe(output: bytes, *, directory: str) -> Probe:
    """Raises SshError where the machine has no such directory, or no tar that flykeep can judge."""
    facts, _, version = output.partition(b"flykeep:version\n")
    if b"flykeep:directory\n" not in facts:
        raise SshError(
            f"the machine has no directory {directory}",
            hint="Check `mount` of the target, and that the volume is attached to this machine.",
        )
    used = _DF_USED.search(facts)
    used_bytes = int(used.group(2)) * 1024 if used else None
    if b"GNU tar" in version:
        return Probe(Flavour.GNU, can_exclude=True, used_bytes=used_bytes)
    if b"busybox" not in version.lower():
        raise SshError(
            "the machine has neither GNU tar nor busybox tar",
            hint="Install tar in the app's image, or export a snapshot.",
        )
    if b"flykeep:stat\n" not in facts:
        raise SshError(
            "the machine's find and stat cannot tell which files changed while they were read",
            hint="Install GNU tar in the app's image, or export a snapshot.",
        )
    return Probe(Flavour.BUSYBOX, can_exclude=b"flykeep:exclude\n" in facts, used_bytes=used_bytes)


def listing_script(directory: str, roots: Sequence[Root]) -> bytes:
    """Prints the paths that exist, relative and NUL-terminated; ends with 98 where `find` met trouble."""
    lines = [PROLOGUE, b"cd " + quoted(raw(directory)) + b" || exit 97\ncode=0\n"]
    for root in roots:
        path = quoted(b"./" + root.path if root.path else b".")
        limit = b"" if root.is_tree else b" -prune"
        exists = b"[ -e " + path + b" ] || [ -L " + path + b" ]"
        find = b"find " + path + b" -xdev" + limit + b" -print0 || code=98"
        lines.append(b"if " + exists + b"; then " + find + b"; fi\n")
    lines.append(b"exit $code\n")
    return b"".join(lines)


def tar_script(directory: str, *, flavour: Flavour, excludes: Sequence[str], operands: Sequence[bytes] | None) -> bytes:
    """Replaces the shell by tar, so that tar's own exit code arrives. `operands` None means the whole directory."""
    before = b"tar -c -f -"
    if flavour is Flavour.GNU:
        before += b" --format=gnu --numeric-owner --one-file-system --quoting-style=escape"
    for option in excludes:
        if flavour is Flavour.GNU or option.startswith("--exclude="):
            before += b" " + quoted(raw(option))
    where = b" -C " + quoted(raw(directory))
    if operands is None:
        return PROLOGUE + b"exec " + before + where + b" . </dev/null\n"
    lines = [PROLOGUE]
    recursion = b""
    if flavour is Flavour.GNU:
        above = sorted({above for operand in operands for above in parents(operand)} - set(operands))
        if above:
            lines.append(b"set -- --no-recursion" + _words(above) + b" --recursion\n")
            recursion = b' "$@"'
    return b"".join((*lines, b"exec ", before, where, recursion, _words(operands), b" </dev/null\n"))


def second_look_script(directory: str, *, operands: Sequence[bytes] | None, mark: bytes) -> bytes:
    """Prints size, mtime and path of every regular file, each closed by `mark` and a newline."""
    paths = b" ." if operands is None else _words(operands)
    return b"".join(
        (
            PROLOGUE,
            b"cd " + quoted(raw(directory)) + b" || exit 97\n",
            b"find" + paths + b" -xdev -type f -exec stat -c " + quoted(b"%s %Y %n" + mark) + b" {} +\n",
            b"exit 0\n",
        )
    )


def _words(paths: Sequence[bytes]) -> bytes:
    return b"".join(b" " + quoted(b"./" + path) for path in paths)

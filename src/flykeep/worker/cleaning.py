"""The shell scripts that list a tree's regular files with their ages, and remove some; for GNU tools and busybox."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from flykeep.domain.errors import SshError
from flykeep.worker.remote_tar import PROLOGUE, quoted, raw
from flykeep.worker.selection import parent

NO_DIRECTORY, TROUBLE = 97, 98
_ONE_LOOK = 50  # files between whose judgement and whose removal nothing else is done
_RECORD = re.compile(rb"([0-9a-f]+),(-?\d+),(\d+)\n\./(.*)", re.DOTALL)
_REGULAR = re.compile(rb"8[0-9a-f]{3}")
_REMOVED = re.compile(rb"(\d+),(\d+),(\d+)")
_WHY_NOT = {
    b"gone": "it is gone, or its folder is another one",
    b"other": "it is no longer a regular file",
    b"young": "it has changed since",
    b"stays": "it could not be removed, or is there again",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A regular file; `path` is relative to the volume's root."""

    path: bytes
    mtime_s: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to remove, unless it was changed after `until_s`."""

    path: bytes
    until_s: int


@dataclass(frozen=True, slots=True)
class Removed:
    """A file that went: its inode, how many names that had then, and its size."""

    inode: int
    links: int
    size_bytes: int


def files_script(directory: str, root: bytes, *, is_literal: bool) -> bytes:
    """Prints `MODE,MTIME,SIZE`, a newline, the path and a NUL for each regular file at or below `root`.

    Paths are relative to the folder that `listed_folder` names. What is reached through a link, or on another
    filesystem, is not listed. Ends with 98 where `find` met trouble.
    """
    folder, name = listed_folder(root, is_literal=is_literal), root.rpartition(b"/")[2]
    start = b"./" + name if is_literal else b"."
    return b"".join((PROLOGUE, _enter(directory), _LIST % (quoted(folder), quoted(start), quoted(_FACTS))))


def listed_folder(root: bytes, *, is_literal: bool) -> bytes:
    """The folder in which `files_script` looks; a literal root may be a file, so its parent."""
    return parent(root) if is_literal else root


def listed(records: Iterable[bytes], *, folder: bytes) -> Iterator[Listed]:
    """What `files_script` printed, cut at its NULs."""
    for record in records:
        found = _RECORD.fullmatch(record)
        if found is None:
            raise SshError("the machine listed its files in a way that flykeep does not know")
        mode, mtime, size, path = found.groups()
        if _REGULAR.fullmatch(mode):
            yield Listed(folder + b"/" + path if folder else path, int(mtime), int(size))


def removal_script(directory: str, wanted: Sequence[Wanted]) -> bytes:
    """Removes what is still a regular file of that age; prints a verdict a line, in the order of `wanted`."""
    calls: list[bytes] = []
    for (folder, until_s), files in groupby(wanted, lambda one: (parent(one.path), one.until_s)):
        names = [quoted(b"./" + one.path.rpartition(b"/")[2]) for one in files]
        for at in range(0, len(names), _ONE_LOOK):
            words = [b"%d" % until_s, quoted(folder), *names[at : at + _ONE_LOOK]]
            calls.append(b"act " + b" ".join(words) + b"\n")
    return b"".join((PROLOGUE, _enter(directory), _REMOVE, *calls, b"exit 0\n"))


def verdicts(output: bytes, wanted: Sequence[Wanted]) -> list[Removed | str]:
    """For each file how it went, or why it stays. Raises SshError where the machine said less, or something else."""
    lines = output.split()
    if len(lines) != len(wanted):
        raise SshError("the machine stopped in the middle of removing files", hint="Run it again: it goes on.")
    return [_verdict(line) for line in lines]


def _verdict(line: bytes) -> Removed | str:
    found = _REMOVED.fullmatch(line)
    if found is not None:
        return Removed(*map(int, found.groups()))
    if line not in _WHY_NOT:
        raise SshError("the machine removed files in a way that flykeep does not know")
    return _WHY_NOT[line]


def _enter(directory: str) -> bytes:
    return _ENTER % quoted(raw(directory))


_ENTER = b"""cd -P %s || exit 97
root=$PWD device=$(stat -c %%d .)
nl='
'
# Into a folder of the volume that is reached through folders of the volume alone.
enter() {
  t=$root${1:+/$1}
  cd -P "$t" 2>/dev/null && [ "$PWD" = "$t" ] && [ "$(stat -c %%d .)" = "$device" ]
}
"""

# One look at many files takes one process; where some vanished meanwhile, each is looked at by itself.
_FACTS = b"""
tell() {
  said=$(stat -c %f,%Y,%s -- "$@" 2>/dev/null)
  count=0
  for one in $said; do count=$((count + 1)); done
  if [ $count -eq $# ]; then
    for one in $said; do
      printf '%s\\n%s\\0' "$one" "$1"
      shift
    done
  elif [ $# -gt 1 ]; then
    for file; do tell "$file"; done
  fi
}
tell "$@"
exit 0
"""

_LIST = b"""enter %s || exit 0
start=%s
[ -e "$start" ] || exit 0
find "$start" -xdev -type f -exec sh -c %s sh {} + || exit 98
exit 0
"""

_REMOVE = b"""
judge() {
  said=$(stat -c %f,%Y,%i,%h,%s -- "$@" 2>/dev/null)
  IFS=$nl
  count=0
  for one in $said; do count=$((count + 1)); done
  if [ $count -ne $# ]; then
    unset IFS
    if [ $# -eq 1 ]; then echo gone; return; fi
    for file; do judge "$file"; done
    return
  fi
  found=
  for one in $said; do
    file=$1
    shift
    rest=${one#*,}
    verdict=other
    case $one in
      8???,*)
        verdict=young
        if [ "${rest%%,*}" -le "$until" ]; then
          set -- "$@" "$file"
          verdict=${rest#*,}
        fi
        ;;
    esac
    found=$found$nl$verdict
  done
  [ $# -eq 0 ] || rm -f -- "$@" 2>/dev/null
  for verdict in $found; do
    case $verdict in
      young | other) echo $verdict; continue ;;
    esac
    if [ -e "$1" ] || [ -L "$1" ]; then echo stays; else echo "$verdict"; fi
    shift
  done
  unset IFS
}
act() {
  until=$1 folder=$2
  shift 2
  if enter "$folder"; then judge "$@"; else for file; do echo gone; done; fi
}
"""

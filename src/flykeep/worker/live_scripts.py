"""The shell scripts that look at a tree in use, for GNU tools and busybox. None of them writes anything anywhere."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from flykeep.domain.artifact import EntryType
from flykeep.domain.errors import SshError
from flykeep.domain.inspection import DiskUse
from flykeep.worker.remote_tar import PROLOGUE, quoted, raw

NO_DIRECTORY = 97
NOT_INSIDE = 93
_INODES = b"flykeep:inodes\n"
_DF = re.compile(rb"\s(\d+)\s+(\d+)\s+(-?\d+)\s+\d+%")
_TYPES = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.DIRECTORY,
    stat.S_IFLNK: EntryType.SYMLINK,
    stat.S_IFIFO: EntryType.FIFO,
    stat.S_IFCHR: EntryType.CHAR,
    stat.S_IFBLK: EntryType.BLOCK,
}  # sockets are in no archive


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry as the machine lists it."""

    path: bytes
    type: EntryType
    size_bytes: int
    mtime_s: int


def use_script(directory: str) -> bytes:
    """Prints what `df` says of the volume: blocks, then inodes."""
    return _in(directory) + b"df -kP . 2>/dev/null\necho " + _INODES + b"df -iP . 2>/dev/null\nexit 0\n"


def read_use(output: bytes) -> DiskUse | None:
    """None where `df` says nothing."""
    blocks, _, inodes = output.partition(_INODES)
    found, counted = _DF.search(blocks), _DF.search(inodes)
    if found is None:
        return None
    total, used, free = (max(int(number), 0) * 1024 for number in found.groups())
    return DiskUse(
        total, used, free, int(counted.group(1)) if counted else None, int(counted.group(2)) if counted else None
    )


def tree_script(directory: str, mark: bytes) -> bytes:
    """Prints mode, size, mtime and path of everything on the volume itself, each closed by `mark` and a newline."""
    return _in(directory) + b"find . -xdev -exec stat -c " + quoted(b"%f %s %Y %n" + mark) + b" {} +\nexit 0\n"


def read_listed(record: bytes) -> Listed | None:
    """None for what no archive holds. Raises SshError for what is no record."""
    try:
        mode, size, mtime, path = record.split(b" ", 3)
        kind = _TYPES.get(stat.S_IFMT(int(mode, 16)))
        listed = (int(size), int(mtime))
    except ValueError:
        raise SshError("the machine's `stat` does not answer as GNU's or busybox's does") from None
    if kind is None:
        return None
    return Listed(_relative(path), kind, listed[0] if kind is EntryType.FILE else 0, listed[1])


def links_script(directory: str) -> bytes:
    """Prints each symbolic link's path and target, both closed by NUL."""
    each = b'for f; do printf \'%s\\0%s\\0\' "$f" "$(readlink "$f")"; done'
    return _in(directory) + b"find . -xdev -type l -exec sh -c " + quoted(each) + b" sh {} +\nexit 0\n"


def content_script(directory: str, path: bytes, *, limit_bytes: int, is_link: bool) -> bytes:
    """Prints the first bytes of a file; ends with 93 where a link leads out of the volume or to no file."""
    return _opened(directory, path, is_link=is_link) + b"exec head -c %d\n" % limit_bytes


def digest_script(directory: str, path: bytes, *, is_link: bool) -> bytes:
    """Prints one file's sha256; ends as `content_script`."""
    return _opened(directory, path, is_link=is_link) + b"exec sha256sum\n"


def digests_script(directory: str, paths: Iterable[bytes]) -> bytes:
    """Prints the sha256 and the path of each file that can be read, closed by NUL."""
    each = b'h() { for f; do d=$(sha256sum < "$f") && printf \'%s %s\\0\' "${d%% *}" "$f"; done; }\n'
    words = b"".join(b"h " + quoted(b"./" + path) + b" 2>/dev/null\n" for path in paths)
    return _in(directory) + each + words + b"exit 0\n"


def stamp_script(directory: str, paths: Iterable[bytes]) -> bytes:
    """Prints something that is another once one of the files was written, made or removed."""
    words = b" ".join(quoted(b"./" + path) for path in paths)
    return _in(directory) + b"for f in " + words + b"; do stat -c '%i %s %Y %Z %y' \"$f\" 2>/dev/null || echo -; done\n"


def read_digest(record: bytes) -> tuple[bytes, str]:
    """Path and sha256."""
    digest, _, path = record.partition(b" ")
    return _relative(path), digest.decode("ascii", "replace")


def _in(directory: str) -> bytes:
    return PROLOGUE + b"cd -P " + quoted(raw(directory)) + b" || exit %d\n" % NO_DIRECTORY


def _opened(directory: str, path: bytes, *, is_link: bool) -> bytes:
    """The file on standard input; links are followed within the volume only."""
    where = quoted(b"./" + path)
    if not is_link:
        return _in(directory) + b"[ -f " + where + b" ] && exec < " + where + b" || exit %d\n" % NOT_INSIDE
    inside = b'case $r in "${PWD%/}"/*) ;; *) exit ' + b"%d" % NOT_INSIDE + b";; esac\n"
    opened = b'[ -f "$r" ] && exec < "$r" || exit ' + b"%d\n" % NOT_INSIDE
    return _in(directory) + b"r=$(readlink -f " + where + b")\n" + inside + opened


def _relative(path: bytes) -> bytes:
    return path.removeprefix(b"./")

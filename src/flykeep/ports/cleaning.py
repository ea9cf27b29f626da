"""The order that looks for files by rules, and removes them; its result.

Ages are judged by the instants handed in, twice: when the files are listed, and on the machine in the same breath as
each removal. Only regular files below `directory` go, on its own filesystem; links are neither followed nor removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from flykeep.ports.fly import SshAccess

SAMPLE_LIMIT = 20


@dataclass(frozen=True, slots=True)
class CleanWish:
    """Regular files that match `glob`, or lie below what matches, and were last changed at `until_s` or before."""

    glob: str
    until_s: int


@dataclass(frozen=True, slots=True)
class CleanOrder:
    """Without `is_applied` nothing is changed."""

    access: SshAccess
    directory: str
    wishes: tuple[CleanWish, ...]
    is_applied: bool
    deadline_s: float
    kind: Literal["clean"] = "clean"


@dataclass(frozen=True, slots=True)
class Found:
    """What one wish names; a file that several name counts for the first. `sample` are some paths, the oldest first."""

    glob: str
    files: int
    content_bytes: int
    oldest_s: int | None
    newest_s: int | None
    sample: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that was listed and then not removed, and why."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class CleanResult:
    """`freed_bytes` are those of removed files that had no other hard link. Of `kept` files some are named.

    `troubles` are folders that could not be looked into, in the machine's words: nothing in them was touched.
    """

    found: tuple[Found, ...]
    removed: int = 0
    freed_bytes: int = 0
    kept_count: int = 0
    kept: tuple[Kept, ...] = ()
    troubles: tuple[str, ...] = ()


class Cleaners(Protocol):
    """Runs the order in a process of its own; cancelling a call stops its worker. Errors as for `Workers`.

    After a failed or cancelled order some files may be gone and others not: it may be given again.
    """

    async def clean(self, order: CleanOrder) -> CleanResult: ...

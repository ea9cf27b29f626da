"""The order to look at a volume that is in use, and what was seen; nothing on it is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from flykeep.domain.inspection import DiskUse, LiveProbe, TreeDiff
from flykeep.domain.probes import Probe
from flykeep.ports.fly import SshAccess
from flykeep.ports.worker import IndexReference, Progress


@dataclass(frozen=True, slots=True)
class InspectOrder:
    """Look at `directory`, ask the probes, and compare with the artifact of `reference` where there is one.

    Without `access` the tree is on the worker's own machine. `token` stands in no file name there. `as_of_s` is now.
    `is_digesting` compares the contents of every file; else of those with another date, up to `digest_bytes`.
    `names` differences of each kind are named.
    """

    token: str
    access: SshAccess | None
    directory: str
    as_of_s: float
    probes: tuple[Probe, ...]
    reference: IndexReference | None
    is_digesting: bool
    digest_bytes: int
    names: int
    deadline_s: float
    stall_timeout_s: float = 120.0
    kind: Literal["inspect"] = "inspect"


@dataclass(frozen=True, slots=True)
class InspectResult:
    """`use` None where the machine's `df` says nothing; `troubles` are what could not be read."""

    use: DiskUse | None
    files: int
    directories: int
    content_bytes: int
    troubles: tuple[str, ...]
    probes: tuple[LiveProbe, ...]
    diff: TreeDiff | None


class Inspectors(Protocol):
    """Runs these orders in processes of their own. Errors as for `Workers`."""

    async def inspect(self, order: InspectOrder, *, on_progress: Callable[[Progress], None]) -> InspectResult: ...

"""What a live volume looks like beside an artifact: what a restore from it would bring back, overwrite or lose."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from flykeep.domain.artifact import EntryType
from flykeep.domain.errors import RefusalError
from flykeep.domain.fly import HostStatus, Machine, Volume
from flykeep.domain.plans import refuse_leaving


class ProbeState(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_ASKED = "not_asked"  # it cannot be asked of a volume that is in use and must not change


@dataclass(frozen=True, slots=True)
class LiveProbe:
    """One question to the live volume, its answer, and in what words."""

    probe: str
    state: ProbeState
    detail: str


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What `df` says of the volume; inodes None where it says nothing of them."""

    total_bytes: int
    used_bytes: int
    free_bytes: int
    inodes: int | None = None
    inodes_used: int | None = None


class Change(StrEnum):
    """What a restore would do with one path."""

    EQUAL = "equal"
    BROUGHT_BACK = "brought_back"
    OVERWRITTEN = "overwritten"
    LOST = "lost"
    OUTSIDE = "outside"  # the artifact's paths leave it out: a restore loses it, an import leaves it alone


@dataclass(frozen=True, slots=True)
class Difference:
    """One path; the sizes are of files, None where that side has no file."""

    path: str
    change: Change
    why: str
    live_bytes: int | None = None
    artifact_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ChangeTotals:
    """Bytes are those that come back, or those that are overwritten or lost."""

    entries: int = 0
    content_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """`names` holds the first differences of each kind only, `is_cut` says that there are more.

    `digests` counts files whose contents were compared; `by_date` those that differ by their date only and whose
    contents nobody looked at: they count as overwritten.
    """

    equal: ChangeTotals
    brought_back: ChangeTotals
    overwritten: ChangeTotals
    lost: ChangeTotals
    outside: ChangeTotals
    names: tuple[Difference, ...]
    is_cut: bool
    digests: int
    by_date: int

    @property
    def is_same(self) -> bool:
        return not any(one.entries for one in (self.brought_back, self.overwritten, self.lost, self.outside))


@dataclass(frozen=True, slots=True)
class SideFacts:
    """A path as one side has it. A hard link is what it leads to."""

    type: EntryType
    size_bytes: int
    mtime_s: int
    link_target: bytes | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`change` None: only the contents can tell."""

    change: Change | None
    why: str = ""


def judge_pair(*, indexed: SideFacts, live: SideFacts, is_digesting: bool) -> Verdict:
    """A path that both sides have. Contents decide where sizes agree and dates differ, or where they are asked for."""
    if indexed.type is not live.type:
        return Verdict(Change.OVERWRITTEN, f"is a {live.type.value} now and a {indexed.type.value} in the artifact")
    if indexed.type is EntryType.SYMLINK and _trimmed(indexed.link_target) != _trimmed(live.link_target):
        return Verdict(Change.OVERWRITTEN, "links elsewhere")
    if indexed.type is not EntryType.FILE:
        return Verdict(Change.EQUAL)
    if indexed.size_bytes != live.size_bytes:
        return Verdict(Change.OVERWRITTEN, "has another size")
    if indexed.mtime_s == live.mtime_s and not is_digesting:
        return Verdict(Change.EQUAL)
    return Verdict(None)


def _trimmed(target: bytes | None) -> bytes:
    """A shell cannot tell a target from one with line ends behind it."""
    return (target or b"").rstrip(b"\n")


@dataclass(slots=True)
class DiffTally:
    """Adds up differences in memory that does not grow with the tree; `limit` names of each kind are kept."""

    limit: int
    _counts: dict[Change, list[int]] = field(default_factory=lambda: {one: [0, 0] for one in Change})
    _names: dict[Change, list[Difference]] = field(default_factory=lambda: {one: [] for one in Change})
    _is_cut: bool = False
    _digests: int = 0
    _by_date: int = 0

    def add(self, difference: Difference) -> None:
        """One path that was judged."""
        change = difference.change
        size = difference.artifact_bytes if change is Change.BROUGHT_BACK else difference.live_bytes
        self._counts[change][0] += 1
        self._counts[change][1] += size or 0
        if change is Change.EQUAL:
            return
        if len(self._names[change]) < self.limit:
            self._names[change].append(difference)
        else:
            self._is_cut = True

    def digested(self) -> None:
        """The contents of one file were compared."""
        self._digests += 1

    def undigested(self) -> None:
        """Nobody looked at the contents of one file that has another date."""
        self._by_date += 1

    def diff(self) -> TreeDiff:
        """What was added up."""
        totals = {change: ChangeTotals(*counts) for change, counts in self._counts.items()}
        names = tuple(one for change in Change for one in sorted(self._names[change], key=lambda one: one.path))
        return TreeDiff(
            equal=totals[Change.EQUAL],
            brought_back=totals[Change.BROUGHT_BACK],
            overwritten=totals[Change.OVERWRITTEN],
            lost=totals[Change.LOST],
            outside=totals[Change.OUTSIDE],
            names=names,
            is_cut=self._is_cut,
            digests=self._digests,
            by_date=self._by_date,
        )


def machine_to_inspect(volume: Volume, machine: Machine | None) -> Machine:
    """The machine whose files can be looked at. Raises RefusalError with the next step where there is none."""
    facts = {"app": volume.app, "volume": volume.id}
    refuse_leaving(volume)
    if machine is None:
        raise RefusalError(
            "no machine mounts the volume, so nobody can look into it",
            hint="Attach it to a machine; or look into its newest snapshot with `flykeep drill TARGET`.",
            facts=facts,
        )
    if HostStatus.UNREACHABLE in {machine.host_status, volume.host_status}:
        raise RefusalError(
            "the host is unreachable, so nobody can look into the volume",
            hint="`flykeep restore TARGET` lists what can be restored elsewhere; watch https://status.flyio.net.",
            facts=facts,
        )
    if not machine.is_started:
        raise RefusalError(
            f"machine {machine.id} is {machine.state}, and only a started one lets anybody look into its volume",
            hint=f"Start it with `fly machine start {machine.id} -a {machine.app}`, "
            "or look into its newest snapshot with `flykeep drill TARGET`.",
            facts=facts,
        )
    return machine

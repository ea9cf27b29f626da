"""Temporary resources: what they are called, how big they must be, and in which order sizes and regions are tried."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flykeep.domain.errors import RefusalError
from flykeep.domain.fly import Volume, VolumeSnapshot
from flykeep.domain.ids import AppName, RunId, SnapshotId

MACHINE_PREFIX = "flykeep-worker-"
VOLUME_PREFIX = "fk_"
VOLUME_NAME_LENGTH = 30
"""Fly's limit; a volume's name holds small letters, digits and `_` only."""

_GIB = 1 << 30
_ENTRY_BYTES = 8 << 10  # a block for its end, an inode, a name
_FILESYSTEM_BYTES = 256 << 20
_RUN_ID_TAIL = 20  # a run id begins with its time, and what follows tells two of them apart
_ATTEMPTS_AT_MOST = 99_999
_VOLUME_NAME = re.compile(rf"{VOLUME_PREFIX}[a-z0-9_]{{{_RUN_ID_TAIL}}}_[1-9][0-9]{{0,4}}")

CLOCK_TOLERANCE = timedelta(minutes=2)
"""How far Fly's clock may be behind ours."""


@dataclass(frozen=True, slots=True)
class GuestSize:
    """The size of a machine."""

    cpu_kind: str  # "shared" | "performance"
    cpus: int
    memory_mb: int


WORKER_GUESTS = (
    GuestSize("shared", 1, 512),
    GuestSize("shared", 1, 1024),
    GuestSize("shared", 2, 1024),
    GuestSize("performance", 1, 2048),
)
"""Cheapest first: 256 MB are too few for a worker, and a host without room for one size often has it for another."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a volume and a machine; each has names of its own, for a name that was refused may exist after all."""

    region: str
    guest: GuestSize
    volume_name: str
    machine_name: str


@dataclass(frozen=True, slots=True)
class ScratchPlan:
    """A volume made from `snapshot_id` in `app`, or an empty one, with a worker machine on it."""

    app: AppName
    snapshot_id: SnapshotId | None  # None makes an empty one
    size_gb: int
    regions: tuple[str, ...]
    run_id: RunId

    def attempts(self, *, after: int = 0) -> Iterator[Attempt]:
        """Every guest size in the first region, then in the next; `after` names were used by this run already."""
        number = after
        for region in self.regions:
            for guest in WORKER_GUESTS:
                number += 1
                yield Attempt(region, guest, volume_name(self.run_id, number), machine_name(self.run_id, number))


def volume_name(run_id: RunId, number: int) -> str:
    """The name of a run's `number`-th temporary volume: at most 30 of `[a-z0-9_]`."""
    if not 1 <= number <= _ATTEMPTS_AT_MOST:
        raise RefusalError(f"a run makes at most {_ATTEMPTS_AT_MOST} temporary volumes")
    tail = re.sub(r"[^a-z0-9]", "_", run_id.lower())[-_RUN_ID_TAIL:]
    return f"{VOLUME_PREFIX}{tail}_{number}"


def is_temporary(name: str) -> bool:
    """Whether a volume of this name was made for one run, by this flykeep or another."""
    return _VOLUME_NAME.fullmatch(name) is not None


def machine_name(run_id: RunId, number: int) -> str:
    return f"{MACHINE_PREFIX}{re.sub(r'[^a-z0-9-]', '-', run_id.lower())}-{number}"


def size_gb(snapshot: VolumeSnapshot, volume: Volume) -> int:
    """What Fly accepts for a volume from the snapshot: its source may have grown since, and sizes are whole GiB."""
    return max(-(-snapshot.volume_size_bytes // _GIB), volume.size_gb, 1)


def numbered(name: str) -> int:
    """The number within its run that such a name ends in."""
    return int(re.split("[_-]", name)[-1])


@dataclass(frozen=True, slots=True)
class ScratchRule:
    """`app` None means the target's own app, which the configuration must have asked for."""

    app: AppName | None
    max_volume_gb: int
    max_workers: int
    regions: tuple[str, ...] = ()


def plan_scratch(rule: ScratchRule, *, snapshot: VolumeSnapshot, volume: Volume, run_id: RunId) -> ScratchPlan:
    """The source's region comes first, then the rule's. Raises RefusalError before anything is made."""
    facts = {"app": volume.app, "volume": volume.id, "snapshot": snapshot.id}
    if not snapshot.is_restorable or snapshot.id is None:
        raise RefusalError(
            f"the snapshot is {snapshot.status!r}, and only a finished one can be read",
            hint="Wait until it is finished, or take one with `flykeep snapshot`.",
            facts=facts,
        )
    needed_gb = size_gb(snapshot, volume)
    if needed_gb > rule.max_volume_gb:
        raise RefusalError(
            f"a temporary volume of {needed_gb} GB is needed, and max_volume_gb is {rule.max_volume_gb}",
            hint="Raise [scratch] max_volume_gb, or export with --source ssh.",
            facts=facts,
        )
    return ScratchPlan(
        app=rule.app or volume.app,
        snapshot_id=snapshot.id,
        size_gb=needed_gb,
        regions=tuple(dict.fromkeys((volume.region, *rule.regions))),
        run_id=run_id,
    )


def room_gb(*, content_bytes: int, entries: int) -> int:
    """How big a volume must be that is to hold so much, with something to spare."""
    needed_bytes = content_bytes + entries * _ENTRY_BYTES
    return -(-(needed_bytes + needed_bytes // 8 + _FILESYSTEM_BYTES) // _GIB)


def plan_empty_scratch(
    rule: ScratchRule, *, target_app: AppName, region: str, content_bytes: int, entries: int, run_id: RunId
) -> ScratchPlan:
    """An empty volume with room for so much. Raises RefusalError before anything is made."""
    needed_gb = room_gb(content_bytes=content_bytes, entries=entries)
    if needed_gb > rule.max_volume_gb:
        raise RefusalError(
            f"a temporary volume of {needed_gb} GB is needed, and max_volume_gb is {rule.max_volume_gb}",
            hint="Raise [scratch] max_volume_gb.",
            facts={"app": target_app},
        )
    return ScratchPlan(
        app=rule.app or target_app,
        snapshot_id=None,
        size_gb=needed_gb,
        regions=tuple(dict.fromkeys((region, *rule.regions))),
        run_id=run_id,
    )


def newest_restorable_snapshot(snapshots: Sequence[VolumeSnapshot]) -> VolumeSnapshot | None:
    """One that is finished and whose instant is known."""
    dated = [(row.created_at, row) for row in snapshots if row.is_restorable and row.created_at]
    return max(dated, key=lambda pair: pair[0])[1] if dated else None


def freshest(snapshots: Sequence[VolumeSnapshot], *, now: datetime, max_age: timedelta) -> VolumeSnapshot | None:
    """The newest restorable snapshot, unless it is older than `max_age`."""
    newest = newest_restorable_snapshot(snapshots)
    return newest if newest and newest.created_at and now - newest.created_at <= max_age else None

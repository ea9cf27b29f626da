"""The plan of a restore: every call in order, what is down and for how long, what it costs; or why it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import BusyError, RefusalError
from flykeep.domain.fly import HostStatus, Machine, Volume, VolumeSnapshot
from flykeep.domain.ids import LineageId
from flykeep.domain.prices import volume_per_month
from flykeep.domain.restore_clusters import cluster_of
from flykeep.domain.restore_config import guest_size, image_of, mounted_volumes
from flykeep.domain.restore_phases import RestoreBeginning, RestoreRecord, next_step
from flykeep.domain.restore_steps import PlannedCall, planned_calls
from flykeep.domain.scratch import GuestSize, room_gb
from flykeep.domain.target import Lineage
from flykeep.domain.wording import instant, took

_GIB = 1 << 30
_LARGEST_GB = 500  # Fly's limit
_GONE = frozenset({"destroying", "destroyed"})
_REPLACEABLE = frozenset({"started", "stopped", "suspended", "created"})


@dataclass(frozen=True, slots=True)
class RestoreSource:
    """What is restored: a snapshot with the lineage that owns it, or an artifact."""

    snapshot: VolumeSnapshot | None = None
    owner: LineageId | None = None
    artifact: Artifact | None = None


@dataclass(frozen=True, slots=True)
class RestoreFacts:
    """What was looked up. `config_json` is complete or None; `is_config_saved` where a check kept it, not Fly told it.

    `others` are the app's other machines, `restore_took` what the last passed drill of such a source measured,
    `down_for` what the last restore of the target did.
    """

    lineage: Lineage
    source: RestoreSource
    volume: Volume | None
    machine: Machine | None
    config_json: str | None = field(repr=False)
    is_config_saved: bool
    lease_holder: str | None
    others: Sequence[Machine]
    volumes: Sequence[Volume]
    unsettled: Sequence[RestoreRecord]
    has_workers: bool
    spare_regions: tuple[str, ...] = ()
    restore_took: timedelta | None = None
    down_for: timedelta | None = None

    @property
    def is_reachable(self) -> bool:
        """Whether the old machine can be told anything."""
        sick = [one.host_status for one in (self.volume, self.machine) if one is not None]
        return HostStatus.UNREACHABLE not in sick


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """`calls` are what is asked of Fly, in order; `notes` are what a person should know before agreeing."""

    beginning: RestoreBeginning
    guest: GuestSize
    image: str | None
    calls: tuple[PlannedCall, ...]
    notes: tuple[str, ...]
    prepared_in: str
    down_for: str
    cost: str
    is_probed: bool
    artifact: Artifact | None = None


def plan_restore(facts: RestoreFacts, *, size_gb: int | None = None) -> RestorePlan:
    """Raises RefusalError or BusyError, naming the reason and the next step, before anything is made."""
    config_json = _refuse(facts)
    beginning = _beginning(facts, size_gb=size_gb)
    guest, image = guest_size(config_json), image_of(config_json)
    return RestorePlan(
        beginning=beginning,
        guest=guest,
        image=image,
        calls=planned_calls(beginning, guest, has_workers=facts.has_workers),
        notes=_notes(facts, beginning),
        prepared_in=_measured(facts.restore_took, "by the last drill"),
        down_for=_measured(facts.down_for, "by the last restore"),
        cost=_cost(beginning.size_gb),
        is_probed=facts.has_workers,
        artifact=facts.source.artifact,
    )


def refuse_unsettled(records: Sequence[RestoreRecord]) -> None:
    """Raises RefusalError while an earlier restore of the target waits for a decision."""
    for record in records:
        raise RefusalError(
            f"restore {record.run_id} of this target is {record.phase}",
            hint=next_step(record),
            facts={"run": record.run_id},
        )


def _refuse(facts: RestoreFacts) -> str:
    """The complete configuration, where nothing speaks against the restore."""
    refuse_unsettled(facts.unsettled)
    _refuse_source(facts)
    where: dict[str, str | int | None] = {"app": facts.lineage.app, "volume": facts.lineage.volume_id}
    if facts.config_json is None:
        raise RefusalError(
            "no complete configuration of the target's machine is known, so no machine can be made like it",
            hint="`flykeep check` saves it while the machine's host answers; `flykeep restore TARGET --to APP` brings "
            "back the data alone.",
            facts=where,
        )
    config_json = facts.config_json
    snapshot = facts.source.snapshot
    cluster = cluster_of(
        facts.machine,
        config_json,
        volume=facts.volume,
        others=facts.others,
        snapshot_id=snapshot.id if snapshot else None,
    )
    if cluster is not None:
        raise RefusalError(f"this is {cluster.what}, and is restored as a whole", hint=cluster.procedure, facts=where)
    _refuse_machine(facts, config_json)
    return config_json


def _refuse_source(facts: RestoreFacts) -> None:
    source, label = facts.source, facts.lineage.label
    if source.snapshot is not None:
        if source.owner is not None and source.owner != facts.lineage.id:
            raise RefusalError(
                f"snapshot {source.snapshot.id} is of another target, not of {label}",
                hint="`flykeep restore TARGET` lists what a target can be restored from.",
            )
        if not source.snapshot.is_restorable:
            raise RefusalError(
                f"the snapshot is {source.snapshot.status!r}, and only a finished one can be restored",
                hint="Wait until it is finished, or choose another one: `flykeep restore TARGET` lists them.",
                facts={"snapshot": source.snapshot.id},
            )
        return
    assert source.artifact is not None  # a request names one of both
    origin = source.artifact.manifest.origin
    if origin.lineage_id != facts.lineage.id and (origin.app, origin.volume_name) != (
        facts.lineage.app,
        facts.lineage.volume_name,
    ):
        raise RefusalError(
            f"artifact {source.artifact.export_id} is of {origin.app}/{origin.volume_name}, not of {label}",
            hint="`flykeep import` brings files of another target into a running machine.",
        )
    if not facts.has_workers:
        raise RefusalError(
            "an artifact is unpacked on the new volume by a worker machine, and no image is configured for it",
            hint="Set [worker] image, or bring the files into the running machine with `flykeep import`.",
        )
    if source.artifact.is_failed:
        raise RefusalError(
            f"artifact {source.artifact.export_id} failed its last verification",
            hint="Choose another one: `flykeep restore TARGET` lists them.",
        )


def _refuse_machine(facts: RestoreFacts, config_json: str) -> None:
    machine = facts.machine
    where = {"app": facts.lineage.app, "machine": machine.id if machine else facts.lineage.machine_id}
    if len(mounted_volumes(config_json)) != 1:
        raise RefusalError("the machine's configuration does not mount exactly one volume", facts=where)
    if '"auto_destroy":true' in config_json.replace(" ", ""):
        raise RefusalError(
            "the machine destroys itself when it stops, so it could not be kept",
            hint="Set `auto_destroy` to false first, with `fly machine update`.",
            facts=where,
        )
    if facts.lease_holder is not None:
        raise BusyError(
            f"the machine is held by {facts.lease_holder}, most likely a deploy",
            hint="Wait until it is over, then try again.",
            facts=where,
        )
    if machine is not None and facts.is_reachable and machine.state not in _REPLACEABLE:
        raise RefusalError(
            f"the machine is {machine.state}; it must be started, stopped or suspended to be replaced",
            hint=f"See `fly machine status {machine.id} -a {machine.app}`, then try again.",
            facts=where,
        )


def _beginning(facts: RestoreFacts, *, size_gb: int | None) -> RestoreBeginning:
    lineage, machine, volume, source = facts.lineage, facts.machine, facts.volume, facts.source
    if source.snapshot is not None:
        needed, as_of = -(-source.snapshot.volume_size_bytes // _GIB), source.snapshot.created_at
        region = volume.region if volume else machine.region if machine else None
    else:
        assert source.artifact is not None
        manifest = source.artifact.manifest
        needed = room_gb(content_bytes=manifest.totals.content_bytes, entries=manifest.totals.entries)
        as_of, region = manifest.started_at, volume.region if volume else manifest.origin.region
    assert as_of is not None  # of what can be restored the instant is known
    regions = tuple(dict.fromkeys(one for one in (region, *facts.spare_regions) if one))
    if not regions:
        raise RefusalError(
            "it is not known in which region the volume was", hint="Name regions in [scratch] regions, best first."
        )
    return RestoreBeginning(
        app=lineage.app,
        volume_name=lineage.volume_name,
        volume_id=volume.id if volume else lineage.volume_id,
        machine_id=machine.id if machine else None,
        machine_name=(machine.name if machine else None) or lineage.machine_name or f"{lineage.app}-restored",
        was_running=machine is None or machine.state in {"started", "suspended"} or not facts.is_reachable,
        is_reachable=facts.is_reachable,
        regions=regions,
        size_gb=_size(needed, volume, size_gb),
        as_of=as_of,
        snapshot_id=source.snapshot.id if source.snapshot else None,
        export_id=source.artifact.export_id if source.artifact else None,
    )


def _size(needed_gb: int, volume: Volume | None, asked_gb: int | None) -> int:
    """What the source needs, what the volume has grown to since, and what a person asks for beyond both."""
    least = max(needed_gb, volume.size_gb if volume else 0, 1)
    if asked_gb is not None and asked_gb < least:
        raise RefusalError(f"{asked_gb} GB are too few: {least} GB are needed", hint="Leave the size out.")
    wanted = max(least, asked_gb or 0)
    if wanted > _LARGEST_GB:
        raise RefusalError(f"a volume of {wanted} GB is needed, and Fly makes none above {_LARGEST_GB} GB")
    return wanted


def _notes(facts: RestoreFacts, beginning: RestoreBeginning) -> tuple[str, ...]:
    machine, volume = facts.machine, facts.volume
    found = [f"contents of {instant(beginning.as_of)}; what was written since is on the old volume only"]
    if facts.is_config_saved:
        found.append("Fly does not tell the machine's configuration now: the one that a check saved last is used")
    if not beginning.is_reachable:
        found.append(
            "the old host is unreachable: no safety snapshot can be made, and the old machine cannot be stopped now; "
            "it is stopped and reported when its host returns"
        )
    if machine is None:
        found.append("no machine has the volume now, so nothing is stopped")
    if machine is None and volume is not None:
        found.append(f"the old volume {volume.id} is attached to nothing: `fly deploy` or `fly scale` may take it")
    if not facts.has_workers:
        found.append("without [worker] image nobody looks at the new volume before it is used")
    if len(beginning.regions) > 1:
        found.append(f"where {beginning.regions[0]} has no room: {', '.join(beginning.regions[1:])}")
    twins = [one for one in facts.others if one.state not in _GONE]
    if twins:
        count = "1 other machine" if len(twins) == 1 else f"{len(twins)} other machines"
        found.append(f"{count} of the app {'stays' if len(twins) == 1 else 'stay'} as they are")
    found.append(
        "until `restore finalize` the old machine stays, stopped, on the old volume; `restore undo` starts it again, "
        "then removes the new machine and volume, of which a snapshot is made first"
    )
    return tuple(found)


def _measured(duration: timedelta | None, how: str) -> str:
    return "not measured yet" if duration is None else f"{took(duration)}, measured {how}"


def _cost(size_gb: int) -> str:
    return f"${volume_per_month(size_gb):.2f} a month for the second volume of {size_gb} GB, until `restore finalize`"

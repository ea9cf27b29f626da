"""A backup copied into another app: what is asked of Fly and in which order, decided before anything is made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import RefusalError
from flykeep.domain.fly import Machine, Volume, VolumeSnapshot
from flykeep.domain.ids import AppName, ExportId, RunId, SnapshotId, VolumeId, VolumeName
from flykeep.domain.scratch import GuestSize, room_gb
from flykeep.domain.target import Lineage

_GIB = 1 << 30
_RELEASE_KEYS = ("fly_release_id", "fly_release_version", "fly_flyctl_version")
"""Metadata that names releases of the app the machine comes from."""

NEEDS_WORKER = "Set [worker] image: an artifact is unpacked by a temporary machine on the new volume."


@dataclass(frozen=True, slots=True)
class CopySource:
    """What is copied: the snapshot or the artifact, never both. `size_gb` is what the new volume needs at least."""

    as_of: datetime
    region: str
    size_gb: int
    snapshot_id: SnapshotId | None = None
    export_id: ExportId | None = None

    @property
    def words(self) -> str:
        return f"snapshot {self.snapshot_id}" if self.snapshot_id else f"artifact {self.export_id}"


@dataclass(frozen=True, slots=True)
class CopiedMachine:
    """The machine that is made with the copy; `config_json` has no mount yet, and nothing secret of the source."""

    name: str
    is_launched: bool
    notes: tuple[str, ...]
    config_json: str = field(repr=False)

    def mounting(self, volume_id: VolumeId) -> str:
        """The configuration with the new volume where the old one was."""
        config = json.loads(self.config_json)
        for mount in config["mounts"]:
            mount["volume"] = volume_id
        return json.dumps(config, sort_keys=True)


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """`calls` is what will be done, in order; `notes` what a person should know of it before and after."""

    target: str
    app: AppName
    volume_name: VolumeName
    source: CopySource
    region: str
    size_gb: int
    is_probed: bool
    machine: CopiedMachine | None
    calls: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """What is there. `live` and `machine` are the source's, `others` the machines and `volumes` those of the app."""

    lineage: Lineage
    app: AppName
    source: CopySource
    live: Volume | None
    config_json: str | None
    image: str | None
    machine_name: str | None
    others: tuple[Machine, ...]
    volumes: tuple[Volume, ...]
    has_workers: bool


def snapshot_source(snapshot: VolumeSnapshot, *, region: str) -> CopySource:
    """Raises RefusalError for one that is not finished."""
    if not snapshot.is_restorable or snapshot.id is None or snapshot.created_at is None:
        raise RefusalError(
            f"the snapshot is {snapshot.status!r}, and only a finished one can be restored",
            hint="Wait until it is finished, or choose another one: `flykeep restore TARGET` lists them.",
            facts={"snapshot": snapshot.id},
        )
    size_gb = max(-(-snapshot.volume_size_bytes // _GIB), 1)
    return CopySource(snapshot.created_at, region, size_gb, snapshot_id=snapshot.id)


def artifact_source(artifact: Artifact) -> CopySource:
    """An artifact of paths is copied as what it is: the volume then holds these paths and no others."""
    manifest = artifact.manifest
    needed = room_gb(content_bytes=manifest.totals.content_bytes, entries=manifest.totals.entries)
    return CopySource(manifest.started_at, manifest.origin.region, needed, export_id=artifact.export_id)


def plan_copy(facts: CopyFacts, *, size_gb: int | None, is_with_config: bool, is_launched: bool) -> CopyPlan:
    """Raises RefusalError before anything is made."""
    source = facts.source
    _refuse(facts, size_gb=size_gb)
    wanted_gb = size_gb or max(source.size_gb, facts.live.size_gb if facts.live else 0)
    machine = _machine(facts, is_launched=is_launched) if is_with_config else None
    is_probed = facts.has_workers
    notes = [*_neighbours(facts), *(machine.notes if machine else ())]
    if not is_probed:
        notes.append("no [worker] image is configured: the copy is not looked at")
    return CopyPlan(
        target=facts.lineage.label,
        app=facts.app,
        volume_name=facts.lineage.volume_name,
        source=source,
        region=source.region,
        size_gb=wanted_gb,
        is_probed=is_probed,
        machine=machine,
        calls=_calls(facts, machine, size_gb=wanted_gb),
        notes=tuple(notes),
    )


def _refuse(facts: CopyFacts, *, size_gb: int | None) -> None:
    source = facts.source
    if facts.app == facts.lineage.app:
        raise RefusalError(
            f"{facts.app} is the target's own app",
            hint="Leave --to out to restore the target itself.",
        )
    if source.export_id is not None and not facts.has_workers:
        raise RefusalError("an artifact cannot be copied here", hint=NEEDS_WORKER)
    if size_gb is not None and size_gb < source.size_gb:
        raise RefusalError(f"{size_gb} GB are too few: {source.words} needs {source.size_gb} GB")


def _neighbours(facts: CopyFacts) -> list[str]:
    """What of that name is there already, and what to do about it."""
    name = facts.lineage.volume_name
    mine = {volume.id: volume for volume in facts.volumes if volume.name == name}
    notes = [
        f"machine {machine.name} of {facts.app} keeps its own volume {mount.volume_id}, and the copy stays unattached. "
        f"To use the copy: `fly machine clone {machine.id} --app {facts.app} --attach-volume COPY:{mount.path}`, then "
        f"`fly machine destroy {machine.id} --app {facts.app}`."
        for machine in facts.others
        for mount in machine.mounts
        if mount.volume_id in mine
    ]
    if any(volume.attached_machine_id is None for volume in mine.values()):
        notes.append(f"{facts.app} has an unattached volume {name} already: `fly deploy` takes the first it finds")
    regions = sorted({machine.region for machine in facts.others} - {facts.source.region})
    if regions:
        notes.append(f"{facts.app} has machines in {', '.join(regions)}; the copy is made in {facts.source.region}")
    return notes


def _calls(facts: CopyFacts, machine: CopiedMachine | None, *, size_gb: int) -> tuple[str, ...]:
    source, app, name = facts.source, facts.app, facts.lineage.volume_name
    made_of = f"from {source.words}" if source.snapshot_id else "empty"
    calls = [f"create volume {name} in {app}, {source.region}, {size_gb} GB, {made_of}"]
    if facts.has_workers:
        does = "fill it from" if source.export_id else "probe it, beside the newest"
        what = f"{source.words}, then probe it" if source.export_id else "artifact's index"
        calls.append(f"create a worker machine in {app} on it: {does} {what}; destroy that machine")
    if machine is not None:
        how = "and start it" if machine.is_launched else "not launched"
        calls.append(f"create machine {machine.name} in {app} on it from the saved configuration, {how}")
    return tuple(calls)


# the machine


def _machine(facts: CopyFacts, *, is_launched: bool) -> CopiedMachine:
    if facts.config_json is None:
        raise RefusalError(
            "no complete configuration of the target's machine is known",
            hint="Leave --with-config out, or let `flykeep check` see the machine on a healthy host first.",
        )
    config: dict[str, Any] = json.loads(facts.config_json)
    notes: list[str] = []
    if facts.image is not None:
        config["image"] = facts.image
    if "@sha256:" not in str(config.get("image")):
        notes.append(f"the image {config.get('image')} is named by a tag, and may be another one by now")
    if not config.get("mounts"):
        raise RefusalError("the saved configuration mounts no volume", hint="Leave --with-config out.")
    notes += _without_secrets(config)
    notes += _without_source(config, is_launched=is_launched)
    name = facts.machine_name or f"{facts.lineage.volume_name}-copy".replace("_", "-")
    return CopiedMachine(name, is_launched, tuple(notes), json.dumps(config, sort_keys=True))


def _without_secrets(config: dict[str, Any]) -> list[str]:
    """Files and processes lose what names a secret of the source: the app has its own, or none."""
    files = config.get("files") or []
    dropped = [str(one["secret_name"]) for one in files if one.get("secret_name")]
    if files:
        config["files"] = [one for one in files if not one.get("secret_name")]
    for process in config.get("processes") or []:
        named = process.pop("secrets", None) or []
        dropped += [str(one.get("env_var") or one.get("name")) for one in named if isinstance(one, dict)]
    if not dropped:
        return []
    return [f"left out, because they are secrets of the source app: {', '.join(sorted(set(dropped)))}"]


def _without_source(config: dict[str, Any], *, is_launched: bool) -> list[str]:
    """What names machines and releases of the source goes; what would start a machine by itself waits for a person."""
    config.pop("standbys", None)
    metadata = config.get("metadata") or {}
    config["metadata"] = {key: value for key, value in metadata.items() if key not in _RELEASE_KEYS}
    if is_launched:
        return []
    waiting = []
    if config.pop("schedule", None) is not None:
        waiting.append("its schedule")
    for service in config.get("services") or []:
        if service.get("autostart"):
            service["autostart"] = False
            waiting.append("autostart")
    return [f"left off until you start it: {', '.join(dict.fromkeys(waiting))}"] if waiting else []


def guest_of(machine: CopiedMachine | None, otherwise: GuestSize) -> GuestSize:
    """The size of machine that the new volume's host must have room for."""
    guest = json.loads(machine.config_json).get("guest") if machine else None
    if not isinstance(guest, dict) or not {"cpu_kind", "cpus", "memory_mb"} <= guest.keys():
        return otherwise
    return GuestSize(str(guest["cpu_kind"]), int(guest["cpus"]), int(guest["memory_mb"]))


def derived_name(name: str, run_id: RunId) -> str:
    """What a machine is called where the app has one of its saved name already."""
    return f"{name}-{run_id.lower()[-6:]}"


def is_the_new_one(volume: Volume, *, name: str, region: str, size_gb: int, before: Sequence[str]) -> bool:
    """Whether this may be the volume that was asked for when the answer was lost."""
    asked = (name, region, size_gb)
    found = (volume.name, volume.region, volume.size_gb)
    return found == asked and volume.id not in before and volume.attached_machine_id is None

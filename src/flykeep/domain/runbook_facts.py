"""What a runbook is written from: an app, its backups, and where its stores are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from flykeep.domain.app_description import AppDescription, DescribedMachine, DescribedVolume
from flykeep.domain.artifact import Artifact
from flykeep.domain.ids import SnapshotId, VolumeId
from flykeep.domain.signed_json import Json

_GIB = 1 << 30
_PASSING_GROUPS = frozenset({"fly_app_release_command", "fly_app_console", "fly_app_test_machine_command"})


@dataclass(frozen=True, slots=True)
class KnownSnapshot:
    """A snapshot from which a volume could be made when it was last seen; `volume_size_bytes` 0 where unknown."""

    id: SnapshotId
    volume_id: VolumeId
    created_at: datetime
    volume_size_bytes: int


@dataclass(frozen=True, slots=True)
class StoreDoor:
    """How a person reaches a store: a folder, or the URL of a bucket's prefix with the bucket's region."""

    name: str
    place: str
    region: str | None = None

    @property
    def is_folder(self) -> bool:
        return self.region is None


@dataclass(frozen=True, slots=True)
class VolumeHistory:
    """A volume's backups, also those of the volumes it has taken the place of; both newest first."""

    volume_id: VolumeId
    snapshots: tuple[KnownSnapshot, ...] = ()
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class RunbookFacts:
    """`doors` are in the order in which the page shall try them."""

    described: AppDescription
    histories: tuple[VolumeHistory, ...]
    doors: tuple[StoreDoor, ...]

    def history(self, volume: DescribedVolume) -> VolumeHistory:
        found = (each for each in self.histories if each.volume_id == volume.id)
        return next(found, VolumeHistory(volume.id))

    def holder(self, volume: DescribedVolume) -> DescribedMachine | None:
        """The machine that mounts the volume; one that names it before one that is only known by its name."""
        mounting = [each for each in self.machines if self.described.volume_of(each) == volume]
        return next((each for each in mounting if volume.id in each.volume_ids), mounting[0] if mounting else None)

    @property
    def machines(self) -> tuple[DescribedMachine, ...]:
        """Those to be made again: what flyctl starts for a moment during a deploy is none of them."""
        return tuple(each for each in self.described.machines if each.process_group not in _PASSING_GROUPS)

    @property
    def machines_without_data(self) -> tuple[DescribedMachine, ...]:
        """All that are no volume's holder: none is left out."""
        holders = [self.holder(volume) for volume in self.described.volumes]
        return tuple(each for each in self.machines if each not in holders)

    def newest_copies(self, history: VolumeHistory) -> tuple[tuple[StoreDoor, Artifact], ...]:
        """The newest artifact of each store that has one; one that counts as a backup before any that does not."""
        found: list[tuple[StoreDoor, Artifact]] = []
        for door in self.doors:
            held = [each for each in usable(history) if each.store == door.name]
            best = next((each for each in held if each.satisfies_rpo), held[0] if held else None)
            if best is not None:
                found.append((door, best))
        return tuple(found)


def usable(history: VolumeHistory) -> tuple[Artifact, ...]:
    """The artifacts that may be tried: neither failed nor on their way out."""
    return tuple(each for each in history.artifacts if not each.is_failed and each.leaving_at is None)


def size_gb_for(snapshot: KnownSnapshot, volume: DescribedVolume) -> int:
    """The smallest volume that the snapshot fits into and that is no smaller than the one which is lost."""
    return max(volume.size_gb, -(-snapshot.volume_size_bytes // _GIB))


def config_of(machine: DescribedMachine) -> Json:
    """The configuration to make it again with: standbys name machines that are gone with the app."""
    config: Json = json.loads(machine.config_json)
    return {name: value for name, value in config.items() if name != "standbys"}


def mount_path(machine: DescribedMachine | None) -> str:
    """Where the machine sees its volume."""
    mounts = config_of(machine).get("mounts") if machine else None
    if isinstance(mounts, list) and mounts and isinstance(mounts[0], dict):
        return str(mounts[0].get("path") or "/data")
    return "/data"

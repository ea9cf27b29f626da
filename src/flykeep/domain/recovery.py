"""How a lost machine's configuration is made one of the new app's, and what became of a recovery."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from flykeep.domain.app_description import DescribedMachine, canonical_config
from flykeep.domain.ids import AppName, MachineId, VolumeId
from flykeep.domain.signed_json import Json

_RELEASE_KEYS = "fly_release_"


def new_config(machine: DescribedMachine, *, volume_id: VolumeId | None, made: Mapping[MachineId, MachineId]) -> str:
    """The saved configuration on another volume; `made` tells which machines took the places of which.

    What another release left in the metadata is dropped, and standbys for machines that are not there.
    """
    config: Json = json.loads(machine.config_json)
    if volume_id is not None:
        first, *rest = _objects(config.get("mounts"))
        config["mounts"] = [{**first, "volume": volume_id}, *rest]
    metadata = config.get("metadata")
    if isinstance(metadata, dict):
        config["metadata"] = {key: value for key, value in metadata.items() if not key.startswith(_RELEASE_KEYS)}
    if machine.standbys:
        config["standbys"] = [made[each] for each in machine.standbys if each in made]
    return canonical_config(config)


def is_launched_at_once(machine: DescribedMachine) -> bool:
    """A standby waits for the failure of another, and a scheduled machine for its hour."""
    return not machine.standbys and not json.loads(machine.config_json).get("schedule")


def may_stop_itself(machine: DescribedMachine) -> bool:
    """Whether Fly's proxy stops it when nobody calls."""
    services = _objects(json.loads(machine.config_json).get("services"))
    return any(service.get("autostop") not in {None, False, "off"} for service in services)


def other_name(name: str) -> str:
    """What a machine is called where its own name is taken."""
    return f"{name}-recovered"


def _objects(value: object) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


@dataclass(frozen=True, slots=True)
class RecoveredVolume:
    """`source` says what its contents are, for people."""

    name: str
    lost_id: VolumeId
    id: VolumeId
    region: str
    source: str


@dataclass(frozen=True, slots=True)
class RecoveredMachine:
    name: str
    lost_id: MachineId
    id: MachineId
    health: str  # "passing" | "running" | "waiting" | or what is wrong
    is_well: bool


@dataclass(frozen=True, slots=True)
class RecoverResult:
    """What a recovery built, and what is left for a person."""

    app: AppName
    name: AppName
    volumes: tuple[RecoveredVolume, ...]
    machines: tuple[RecoveredMachine, ...]
    addresses: tuple[str, ...]
    secrets: tuple[str, ...]  # names
    warnings: tuple[str, ...]
    by_hand: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        return all(machine.is_well for machine in self.machines)

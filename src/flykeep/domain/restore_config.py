"""A machine's configuration as a restore changes it: for the new machine, and for the old one that is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flykeep.domain.ids import MachineId, RunId, VolumeId
from flykeep.domain.scratch import WORKER_GUESTS, GuestSize

PLATFORM_KEY = "fly_platform_version"
GROUP_KEY = "fly_process_group"
RESTORE_KEY = "flykeep_restore"
"""Metadata key that holds the id of the run that made a machine, until the restore is done."""
KEPT_GROUP = "flykeep_kept"
"""`fly_process_group` of an old machine that is kept: `fly deploy` leaves machines of a foreign group alone."""

_LAUNCH_KEYS = (
    PLATFORM_KEY,
    GROUP_KEY,
    "process_group",
    "fly_release_id",
    "fly_release_version",
    "fly_flyctl_version",
)
_STARTING_KEYS = ("schedule", "standbys")
"""What would start a stopped machine."""


@dataclass(frozen=True, slots=True)
class NewMachine:
    """What the new machine is made from. `platform` is set when it takes over, so that no deploy sees two machines."""

    platform: str | None
    config_json: str = field(repr=False)


def new_machine(config_json: str, *, volume_id: VolumeId, run_id: RunId) -> NewMachine:
    """The configuration of a machine with another volume in the place of its own."""
    config = _load(config_json)
    for mount in config["mounts"][:1]:
        mount["volume"] = volume_id
    metadata = dict(config.get("metadata") or {})
    platform = metadata.pop(PLATFORM_KEY, None)
    config["metadata"] = metadata | {RESTORE_KEY: run_id}
    return NewMachine(platform, _dump(config))


def owner_run(config_json: str | None) -> str | None:
    """The run that made a machine by a restore which is not done yet."""
    found = (_load(config_json or "{}").get("metadata") or {}).get(RESTORE_KEY)
    return str(found) if found else None


@dataclass(frozen=True, slots=True)
class Fence:
    """`config_json` keeps a stopped machine stopped and out of every deploy; `taken_json` undoes that."""

    config_json: str = field(repr=False)
    taken_json: str


def fence(config_json: str) -> Fence:
    """What starts a machine by itself, and what makes it one of Launch's, is taken out and remembered."""
    config = _load(config_json)
    metadata = dict(config.get("metadata") or {})
    taken: dict[str, Any] = {"metadata": {key: metadata.pop(key) for key in _LAUNCH_KEYS if key in metadata}}
    config["metadata"] = metadata | {GROUP_KEY: KEPT_GROUP}
    taken |= {key: config.pop(key) for key in _STARTING_KEYS if key in config}
    services = config.get("services") or []
    taken["autostart"] = [service.get("autostart") for service in services]
    for service in services:
        service["autostart"] = False
    return Fence(_dump(config), json.dumps(taken, sort_keys=True))


def is_fenced(config_json: str | None) -> bool:
    """Whether a machine is kept out of deploys as an old one."""
    return (_load(config_json or "{}").get("metadata") or {}).get(GROUP_KEY) == KEPT_GROUP


def unfence(config_json: str, taken_json: str) -> str:
    """The configuration as it was before."""
    config, taken = _load(config_json), _load(taken_json)
    metadata = dict(config.get("metadata") or {})
    if metadata.get(GROUP_KEY) == KEPT_GROUP:
        del metadata[GROUP_KEY]
    config["metadata"] = metadata | taken["metadata"]
    config |= {key: taken[key] for key in _STARTING_KEYS if key in taken}
    for service, autostart in zip(config.get("services") or [], taken["autostart"], strict=False):
        if autostart is None:
            service.pop("autostart", None)
        else:
            service["autostart"] = autostart
    return _dump(config)


def standbys_of(config_json: str | None) -> tuple[MachineId, ...]:
    """The machines that this one stands by for."""
    return tuple(MachineId(one) for one in _load(config_json or "{}").get("standbys") or [])


def standby_moved(config_json: str, *, before: MachineId, after: MachineId) -> str:
    """A standby's configuration, where the machine it stands by for was replaced."""
    config = _load(config_json)
    config["standbys"] = [after if one == before else one for one in config.get("standbys") or []]
    return _dump(config)


def pinned(config_json: str, image: str | None) -> str:
    """An image that is named by a tag which may move is named by the digest that runs."""
    config = _load(config_json)
    named = str(config.get("image") or "")
    is_fixed = "@sha256:" in named or ":deployment-" in named
    if image is not None and not is_fixed:
        config["image"] = image
    return _dump(config)


def guest_size(config_json: str) -> GuestSize:
    """The size the new volume's host must have room for."""
    guest = _load(config_json).get("guest") or {}
    if not {"cpu_kind", "cpus", "memory_mb"} <= guest.keys():
        return WORKER_GUESTS[-1]
    return GuestSize(str(guest["cpu_kind"]), int(guest["cpus"]), int(guest["memory_mb"]))


def image_of(config_json: str) -> str | None:
    """What the machine runs, as its configuration names it."""
    found = _load(config_json).get("image")
    return str(found) if found else None


def platform_of(config_json: str | None) -> str | None:
    """The mark by which deploys know a machine for theirs."""
    found = (_load(config_json or "{}").get("metadata") or {}).get(PLATFORM_KEY)
    return str(found) if found else None


def mounted_volumes(config_json: str) -> Sequence[str]:
    """The ids of the volumes that a configuration mounts."""
    return [str(mount.get("volume")) for mount in _load(config_json).get("mounts") or []]


def _load(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def _dump(config: dict[str, Any]) -> str:
    return json.dumps(config, sort_keys=True, separators=(",", ":"))

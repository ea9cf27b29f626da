"""What `fly deploy` and `fly scale` would do with an app as it stands: which volume they take, what stops them.

A judge for tests, which never asks Fly. Source: flyctl, internal/command/deploy/machines.go, and fly-go,
flaps/flaps_machines.go: what counts there is a machine's metadata, and a volume's name, region, host and holder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from flykeep.domain.fly import HostStatus, Machine, Volume
from flykeep.domain.ids import MachineId, VolumeId

PLATFORM_KEY = "fly_platform_version"
GROUP_KEY = "fly_process_group"
_LEGACY_GROUP_KEY = "process_group"
_RESERVED_GROUPS = frozenset({"fly_app_release_command", "fly_app_console", "fly_app_test_machine_command"})
_GONE = frozenset({"destroyed", "destroying"})


@dataclass(frozen=True, slots=True)
class Launch:
    """The part of a fly.toml that decides: one process group with one mount."""

    source: str
    region: str
    group: str = "app"


@dataclass(frozen=True, slots=True)
class Deploy:
    """What the next `fly deploy` would do.

    `updated` are the machines it gives a new version, `kept` the volumes they have. `taken` are volumes it attaches to
    machines it makes, `is_volume_made` says that it would make one. `obstacles` make it fail before any change.
    """

    is_first: bool
    updated: tuple[MachineId, ...]
    kept: tuple[VolumeId, ...]
    taken: tuple[VolumeId, ...]
    is_volume_made: bool
    obstacles: tuple[str, ...]
    is_bluegreen_blocked: bool

    @property
    def volumes(self) -> frozenset[VolumeId]:
        """Every existing volume that the app's machines have afterwards, by this deploy's doing."""
        return frozenset((*self.kept, *self.taken))


def free_volumes(volumes: Iterable[Volume], launch: Launch) -> tuple[VolumeId, ...]:
    """The volumes that a new machine of Launch's may get, in the order they are taken."""
    return tuple(
        one.id
        for one in volumes
        if one.attached_machine_id is None
        and not one.is_leaving
        and one.name == launch.source
        and one.region == launch.region
        and one.host_status is HostStatus.OK
    )


def deploy(machines: Iterable[Machine], volumes: Iterable[Volume], launch: Launch) -> Deploy:
    """The next `fly deploy` of an app that consists of these."""
    known = tuple(volumes)
    active = [one for one in machines if one.state not in _GONE and _group(one) not in _RESERVED_GROUPS]
    managed = [one for one in active if _is_managed(one)]
    ours = [one for one in managed if _is_silent(one) or _group(one) == launch.group]
    wanted = 0 if ours else 1
    taken = free_volumes(known, launch)[:wanted]
    return Deploy(
        is_first=not managed,
        updated=tuple(one.id for one in managed),
        kept=tuple(mount.volume_id for one in managed for mount in one.mounts),
        taken=taken,
        is_volume_made=len(taken) < wanted,
        obstacles=tuple(_obstacles(managed, ours, known, launch)),
        is_bluegreen_blocked=any(_group(one) is None and not _is_silent(one) for one in active),
    )


def scale_up(volumes: Iterable[Volume], launch: Launch) -> VolumeId | None:
    """The volume that `fly scale count +1` gives to the machine it makes; None where it would make a new one."""
    return next(iter(free_volumes(volumes, launch)), None)


def _obstacles(
    managed: list[Machine], ours: list[Machine], volumes: tuple[Volume, ...], launch: Launch
) -> Iterable[str]:
    names = {one.id: one.name for one in volumes}
    for one in managed:
        if one.host_status is HostStatus.UNREACHABLE:
            yield f"machine {one.id} is on a host that does not answer"
    for one in ours:
        for mount in one.mounts:
            if (name := names.get(mount.volume_id)) is not None and name != launch.source:
                yield f"machine {one.id} mounts {name}: can't update the attached volume"


def _is_managed(machine: Machine) -> bool:
    """Whether deploy, scale and secrets see it."""
    return _is_silent(machine) or PLATFORM_KEY in _metadata(machine)


def _is_silent(machine: Machine) -> bool:
    """Its host tells no configuration; it is taken for one of Launch's, as it was before."""
    return machine.config_json is None


def _group(machine: Machine) -> str | None:
    metadata = _metadata(machine)
    return metadata.get(GROUP_KEY) or metadata.get(_LEGACY_GROUP_KEY)


def _metadata(machine: Machine) -> dict[str, str]:
    found: dict[str, str] = json.loads(machine.config_json or "{}").get("metadata") or {}
    return found

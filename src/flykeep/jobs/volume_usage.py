"""Look how full a volume is. Nothing is changed, and nothing is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from flykeep.domain.disk_usage import AutoExtend, Disk, auto_extend_of, read_usage, usage_script
from flykeep.domain.errors import CommandFailedError, FlyError, FlykeepError, RefusalError
from flykeep.domain.fly import HostStatus, Machine, Volume
from flykeep.domain.plans import mount_directory
from flykeep.domain.policy import TargetRule
from flykeep.domain.target import Lineage
from flykeep.ports.fly import CommandRunner, InventoryReader

_WITHIN = timedelta(seconds=25)  # longer ones are answered by a time-out, and go on unseen


class UsageFly(InventoryReader, CommandRunner, Protocol):
    """What this job needs of Fly."""


@dataclass(frozen=True, slots=True)
class Usage:
    """`disk` is what the machine says; where it is None, `silence` says why."""

    volume: Volume
    machine: Machine | None
    auto_extend: AutoExtend | None
    disk: Disk | None
    silence: str | None


@dataclass(frozen=True, slots=True)
class VolumeUsage:
    fly: UsageFly

    async def look(self, lineage: Lineage, rule: TargetRule) -> Usage:
        """What Fly says always; what the machine says where it runs and answers."""
        volume = await self.fly.volume(lineage.app, lineage.volume_id)
        attached = volume.attached_machine_id
        machine = await self.fly.machine(volume.app, attached) if attached else None
        extend = auto_extend_of(machine, volume.id) if machine else None
        disk, silence = await self._disk(rule, volume, machine)
        return Usage(volume, machine, extend, disk, silence)

    async def _disk(self, rule: TargetRule, volume: Volume, machine: Machine | None) -> tuple[Disk | None, str | None]:
        obstacle = _obstacle(machine)
        if machine is None or obstacle is not None:
            return None, obstacle
        try:
            return await self._asked(machine, mount_directory(rule, volume=volume, machine=machine)), None
        except (FlyError, CommandFailedError, RefusalError) as error:
            return None, _told(error)

    async def _asked(self, machine: Machine, directory: str) -> Disk:
        command = ("sh", "-c", usage_script(directory))
        result = await self.fly.execute(machine.app, machine.id, command, within=_WITHIN)
        if not result.is_success:
            raise CommandFailedError(
                f"the machine could not look into {directory}", facts={"stderr": result.stderr.strip()[-200:] or None}
            )
        return read_usage(result.stdout)


def _obstacle(machine: Machine | None) -> str | None:
    if machine is None:
        return "no machine mounts the volume"
    if machine.host_status is HostStatus.UNREACHABLE:
        return "the machine's host is unreachable"
    if not machine.is_started:
        return f"machine {machine.id} is {machine.state}"
    return None


def _told(error: FlykeepError) -> str:
    return f"the machine does not tell: {error}"

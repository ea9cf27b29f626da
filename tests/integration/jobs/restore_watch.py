"""Looks at a Fly in memory after every call: is the app on its old or its new volume, and what would others do now?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from flykeep.domain.ids import VolumeId
from flykeep.testing.launch_rules import GROUP_KEY, PLATFORM_KEY, Launch, deploy, scale_up
from flykeep.testing.memory_fly import MemoryFly
from flykeep.testing.memory_platform import RUNNING, Server

WORKERS = "flykeep_worker"


@dataclass
class Watch:
    """`spoiled` is the volume a restore leads away from. What is wrong is kept in `seen`, for jobs answer errors.

    `hosts_return`: a lost host starts its machine by itself, which nobody can prevent. `is_finalizing`: the spoiled
    volume may be free, for Fly deletes none that a machine holds. `is_after_death`: the leases that kept deploys away
    have ended with the process that took them.
    """

    fly: MemoryFly
    spoiled: VolumeId
    launch: Launch
    hosts_return: bool = False
    is_finalizing: bool = False
    is_after_death: bool = False
    looks: int = 0
    seen: list[str] = field(default_factory=list)

    def look(self, call: str, is_after: bool) -> None:
        """A watcher of the fake."""
        self.looks += 1
        when = "after" if is_after else "before"
        self.seen.extend(f"{when} {call}: {wrong}" for wrong in self.wrongs())

    def wrongs(self) -> Iterator[str]:
        """Everything that must not be, now."""
        yield from self._of_the_app()
        yield from self._of_launch()

    def servers(self) -> list[Server]:
        """The machines of the target, old and new, without workers."""
        return [
            one
            for one in self.fly.servers.values()
            if one.app == self.fly.disks[self.spoiled].volume.app
            and one.state != "destroyed"
            and one.volume_id is not None
            and self.fly.disks[one.volume_id].volume.name == self.launch.source
            and one.metadata.get(GROUP_KEY) != WORKERS
        ]

    def _of_the_app(self) -> Iterator[str]:
        servers = self.servers()
        homes = [one for one in servers if self._has_its_volume(one)]
        if not homes:
            yield "there is no machine with its volume"
        running = [one for one in servers if one.state in RUNNING]
        if len(running) > 1 and not self.hosts_return:
            yield f"{len(running)} machines run: {[one.id for one in running]}"
        wakeable = [one for one in servers if one.state not in RUNNING and may_be_woken(one)]
        if running and wakeable and not self.hosts_return:
            yield f"a request could start {[one.id for one in wakeable]} beside {[one.id for one in running]}"

    def _has_its_volume(self, server: Server) -> bool:
        disk = self.fly.disks.get(server.volume_id or "")
        return disk is not None and not disk.volume.is_leaving and disk.volume.attached_machine_id == server.id

    def _of_launch(self) -> Iterator[str]:
        app = self.fly.disks[self.spoiled].volume.app
        volumes = tuple(disk.volume for disk in self.fly.disks.values() if disk.volume.app == app)
        if scale_up(volumes, self.launch) == self.spoiled and not self.is_finalizing:
            yield "`fly scale` would take the spoiled volume"
        found = deploy([one.facts() for one in self.fly.servers.values() if one.app == app], volumes, self.launch)
        if self.spoiled in found.taken:
            yield "`fly deploy` would take the spoiled volume"
        if found.is_first:
            yield "`fly deploy` would take the app for a new one"
        if found.is_bluegreen_blocked:
            yield "a machine without a process group stands in the way"
        running = [one for one in self.servers() if one.state in RUNNING]
        managed = [one for one in self.servers() if PLATFORM_KEY in one.metadata]
        if self.is_after_death or self.hosts_return:
            return
        is_led_away = bool(running) and all(one.volume_id != self.spoiled for one in running)
        if is_led_away and any(one.volume_id == self.spoiled and self.fly.hold(one) is None for one in managed):
            yield "`fly deploy` would start the machine on the spoiled volume"
        if len(managed) > 1 and not any(self.fly.hold(one) for one in managed):
            yield f"`fly deploy` would start all of {[one.id for one in managed]}"


def may_be_woken(server: Server) -> bool:
    """Whether Fly's proxy may start it for a request; a service that says nothing of it may."""
    services = server.config.get("services") or []
    return not server.is_cordoned and any(service.get("autostart") is not False for service in services)

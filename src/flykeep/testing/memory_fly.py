"""The whole of Fly that a restore speaks to, in memory: production, worker machines, snapshots and the inventory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from flykeep.domain.errors import FlyInvalidRequestError, FlyPreconditionError, FlyUnavailableError
from flykeep.domain.fly import (
    SNAPSHOT_DONE,
    App,
    CommandResult,
    HostStatus,
    Inventory,
    Machine,
    SnapshotRequest,
    Volume,
    VolumeSnapshot,
)
from flykeep.domain.ids import AppName, MachineId, SnapshotId, VolumeId
from flykeep.ports.production import ProductionMachine, ProductionVolume
from flykeep.ports.scratch import OWNER_KEY, WORKER_GROUP, ScratchVolume, WorkerMachine
from flykeep.testing.memory_platform import MemorySnapshot, port_call
from flykeep.testing.production import MemoryProduction

_GIB = 1024**3
_MOST_INPUT_BYTES = 60_000


class MemoryFly(MemoryProduction):
    """Every port of Fly's that needs no wire, over one platform; commands succeed and say nothing."""

    # -- temporary things: the port ScratchFly

    @port_call
    async def create_volume(self, spec: ScratchVolume) -> Volume:
        wanted = ProductionVolume(
            spec.app, spec.name, spec.region, spec.size_gb, spec.snapshot_id, spec.guest, spec.image, None, False
        )
        return self.new_volume(wanted)

    @port_call
    async def create_machine(self, spec: WorkerMachine) -> Machine:
        mounts = [{"volume": spec.volume_id, "path": spec.mount}] if spec.volume_id else []
        config = {"image": spec.image, "metadata": {OWNER_KEY: spec.run_id, "fly_process_group": WORKER_GROUP}}
        wanted = ProductionMachine(spec.app, spec.name, spec.region, "", is_launched=True)
        return self.new_machine(wanted, config | ({"mounts": mounts} if mounts else {}))

    @port_call
    async def execute_with_input(
        self, app: AppName, machine_id: MachineId, command: tuple[str, ...], *, stdin: str, within: timedelta
    ) -> CommandResult:
        if len(stdin.encode()) > _MOST_INPUT_BYTES:
            raise FlyInvalidRequestError("too much input")
        return self._run(app, machine_id, CommandResult(0, stdin if command == ("cat",) else "", ""), within)

    # -- commands, snapshots, the inventory: the port Fly, without certificates and tokens

    @port_call
    async def execute(
        self, app: AppName, machine_id: MachineId, command: tuple[str, ...], *, within: timedelta
    ) -> CommandResult:
        assert command
        return self._run(app, machine_id, CommandResult(0, "", ""), within)

    @port_call
    async def snapshots(self, app: AppName, volume_id: VolumeId) -> tuple[VolumeSnapshot, ...]:
        self.known(app)
        rows = [(shot_id, shot) for shot_id, shot in self.shots.items() if shot.volume_id == volume_id]
        return tuple(
            VolumeSnapshot(SnapshotId(shot_id), shot.status, shot.taken_at, 1, shot.size_gb * _GIB, 5, "digest")
            for shot_id, shot in sorted(rows, key=lambda row: row[1].taken_at, reverse=True)
        )

    @port_call
    async def request_snapshot(self, app: AppName, volume_id: VolumeId) -> SnapshotRequest:
        disk = self.disk(app, volume_id)
        if disk.volume.host_status is not HostStatus.OK:
            raise FlyUnavailableError("host is unreachable")
        made = SnapshotId(self.new("vs_"))
        self.shots[made] = MemorySnapshot(disk.volume.id, disk.contents, self.clock.now(), disk.volume.size_gb)
        return SnapshotRequest(made, SNAPSHOT_DONE)

    @port_call
    async def inventory(self) -> Inventory:
        """Machines without configurations, as the organization's list has them."""
        there = [one for one in self.servers.values() if one.state != "destroyed"]
        return Inventory(
            read_at=self.clock.now(),
            machines=tuple(replace(one.facts(), config_json=None) for one in there),
            volumes=tuple(disk.volume for disk in self.disks.values()),
        )

    @port_call
    async def apps(self) -> tuple[App, ...]:
        return tuple(App(AppName(name), "deployed") for name in sorted(self.app_names))

    def _run(self, app: AppName, machine_id: MachineId, result: CommandResult, within: timedelta) -> CommandResult:
        assert within > timedelta(0)
        if (state := self.server(app, machine_id).state) != "started":
            raise FlyPreconditionError(f"unable to exec, machine is in state '{state}'")
        return result

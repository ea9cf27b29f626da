"""The Fly client of temporary volumes and worker machines: the port `flykeep.ports.scratch.ScratchFly` over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TypeVar

from flykeep.adapters.fly import facts
from flykeep.adapters.fly.client import FlyClient
from flykeep.adapters.fly.http import Repeat
from flykeep.adapters.fly.wire import VOLUMES, WireMachine, WireVolume
from flykeep.domain.errors import (
    FlyInvalidRequestError,
    FlyNotFoundError,
    FlyPreconditionError,
    FlyUnavailableError,
    FlyUnexpectedAnswerError,
)
from flykeep.domain.fly import CommandResult, Machine, Volume
from flykeep.domain.ids import AppName, MachineId, VolumeId
from flykeep.ports.clock import Clock
from flykeep.ports.scratch import OWNER_KEY, WORKER_GROUP, Guest, ScratchVolume, WorkerMachine

MadeT = TypeVar("MadeT", Machine, Volume)
_LOOKS = 3
_LOOK_EVERY = timedelta(seconds=2)
_UNSEEN_FOR = timedelta(seconds=60)  # a machine just made may not be found for a moment
_GONE = frozenset({"destroying", "destroyed"})


class FlyScratch:
    """Makes and removes through a FlyClient's connections, at its pace.

    No create is sent twice: where its outcome is unknown, its name is looked for, and not found means the error stands.
    """

    def __init__(self, fly: FlyClient, *, clock: Clock) -> None:
        self._fly = fly
        self._api = fly.api
        self._clock = clock

    # -- volumes

    async def create_volume(self, spec: ScratchVolume) -> Volume:
        """Raises FlyCapacityError where the region has no room, FlyForbiddenError or the like for the snapshot."""
        request = self._api.post(
            "apps",
            spec.app,
            "volumes",
            action="volume.create",
            identifier=spec.app,
            repeat=Repeat.NEVER,
            body=_volume_body(spec),
            facts={"app": spec.app, "volume": spec.name, "snapshot": spec.snapshot_id},
        )

        async def create() -> Volume:
            return facts.volume_of(await self._api.read(request, WireVolume), app=spec.app)

        async def look() -> tuple[Volume, ...]:
            return tuple(one for one in await self.app_volumes(spec.app) if one.name == spec.name)

        return await self._made(create, look)

    async def app_volumes(self, app: AppName) -> tuple[Volume, ...]:
        """As the port says."""
        request = self._api.get("apps", app, "volumes", action="volume.list", identifier=app, facts={"app": app})
        rows = await self._api.read(request, VOLUMES)
        return tuple(one for one in (facts.volume_of(row, app=app) for row in rows) if not one.is_leaving)

    async def volume(self, app: AppName, volume_id: VolumeId) -> Volume:
        return await self._fly.volume(app, volume_id)

    async def delete_volume(self, app: AppName, volume_id: VolumeId) -> None:
        """As the port says; Fly answers for a volume that vanished with 404, 400 or 422, so the list decides."""
        request = self._api.delete(
            "apps",
            app,
            "volumes",
            volume_id,
            action="volume.delete",
            identifier=app,
            facts={"app": app, "volume": volume_id},
        )
        try:
            await self._api.send(request, lambda _answer: None)
        except FlyNotFoundError:
            return
        except FlyInvalidRequestError:
            if volume_id in {one.id for one in await self.app_volumes(app)}:
                raise

    # -- machines

    async def create_machine(self, spec: WorkerMachine) -> Machine:
        """Raises FlyCapacityError where the region or the volume's host has no room."""
        request = self._api.post(
            "apps",
            spec.app,
            "machines",
            action="machine.create",
            identifier=spec.app,
            repeat=Repeat.NEVER,
            body=_machine_body(spec),
            facts={"app": spec.app, "machine": spec.name},
        )

        async def create() -> Machine:
            return facts.machine_of(await self._api.read(request, WireMachine), app=spec.app)

        async def look() -> tuple[Machine, ...]:
            here = await self._fly.machines(spec.app)
            return tuple(one for one in here if one.name == spec.name and one.state not in _GONE)

        return await self._made(create, look)

    async def machines(self, app: AppName) -> tuple[Machine, ...]:
        return await self._fly.machines(app)

    async def wait_for_state(self, app: AppName, machine_id: MachineId, state: str, *, within: timedelta) -> bool:
        """As the port says; raises FlyNotFoundError for a machine nobody finds for a minute."""
        started = self._clock.monotonic()
        while True:
            waited = timedelta(seconds=self._clock.monotonic() - started)
            if waited >= within:
                return False
            try:
                await self._fly.wait_machine(app, machine_id, state, within - waited)
            except FlyPreconditionError:
                return False
            except FlyNotFoundError:
                if waited > _UNSEEN_FOR:
                    raise
            else:
                return True
            await self._clock.sleep(_LOOK_EVERY)

    async def destroy_machine(self, app: AppName, machine_id: MachineId) -> None:
        """As the port says."""
        request = self._api.delete(
            "apps",
            app,
            "machines",
            machine_id,
            action="machine.delete",
            identifier=machine_id,
            query={"force": "true"},
            facts={"app": app, "machine": machine_id},
        )
        try:
            await self._api.send(request, lambda _answer: None)
        except FlyNotFoundError:
            return

    async def execute_with_input(
        self, app: AppName, machine_id: MachineId, command: tuple[str, ...], *, stdin: str, within: timedelta
    ) -> CommandResult:
        return await self._fly.execute(app, machine_id, command, stdin=stdin, within=within)

    async def _made(
        self, create: Callable[[], Awaitable[MadeT]], look: Callable[[], Awaitable[tuple[MadeT, ...]]]
    ) -> MadeT:
        """What `create` made, or what `look` finds where its answer was lost or unreadable."""
        try:
            return await create()
        except (FlyUnavailableError, FlyUnexpectedAnswerError):
            for _ in range(_LOOKS):
                if found := await look():
                    return found[0]
                await self._clock.sleep(_LOOK_EVERY)
            raise


def _volume_body(spec: ScratchVolume) -> Mapping[str, object]:
    """`compute` and `compute_image` place it where such a machine fits; any zone will do, for nothing is replicated."""
    body: dict[str, object] = {
        "name": spec.name,
        "region": spec.region,
        "size_gb": spec.size_gb,
        "encrypted": True,
        "require_unique_zone": False,
        "auto_backup_enabled": False,
        "compute": _guest_body(spec.guest),
        "compute_image": spec.image,
    }
    return body | ({"snapshot_id": spec.snapshot_id} if spec.snapshot_id is not None else {})


def _machine_body(spec: WorkerMachine) -> Mapping[str, object]:
    """Nothing of the app's reaches it: no secrets by either of Fly's two ways, no services, no DNS name.

    Without `fly_platform_version` and with a process group of its own, `fly deploy` leaves it alone. The command stands
    twice: in `processes`, the only place for `ignore_app_secrets`, and in `init` for where that list is not read.
    """
    command = list(spec.command)
    config: dict[str, object] = {
        "image": spec.image,
        "guest": _guest_body(spec.guest),
        "init": {"exec": command},
        "processes": [{"exec": command, "ignore_app_secrets": True}],
        "env": {},
        "metadata": {"fly_process_group": WORKER_GROUP, OWNER_KEY: spec.run_id},
        "restart": {"policy": "no"},
        "auto_destroy": False,  # its last state and its exit must be there to be read
        "services": [],
        "dns": {"skip_registration": True},
    }
    if spec.volume_id is not None:
        config["mounts"] = [{"volume": spec.volume_id, "path": spec.mount}]
    return {
        "name": spec.name,
        "region": spec.region,
        "skip_secrets": True,
        "skip_service_registration": True,
        "config": config,
    }


def _guest_body(guest: Guest) -> Mapping[str, object]:
    return {"cpu_kind": guest.cpu_kind, "cpus": guest.cpus, "memory_mb": guest.memory_mb}

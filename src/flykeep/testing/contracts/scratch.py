"""What every `ports.scratch.ScratchFly` must do: run each of CHECKS against it, given where it may make things.

A check raises AssertionError where the promise is broken, and removes what it made.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from flykeep.domain.errors import FlyInvalidRequestError, FlyNotFoundError, FlyPreconditionError
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.ids import AppName, MachineId, RunId, SnapshotId, VolumeId
from flykeep.ports.scratch import OWNER_KEY, WORKER_GROUP, Guest, ScratchFly, ScratchVolume, WorkerMachine

_SOON = timedelta(seconds=50)
_LOOKS = 20
_MOST_INPUT_BYTES = 60_000
_ABSENT_APP = AppName("flykeep-contract-no-such-app")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownScratch:
    """`app` exists and holds nothing; `snapshot_id` is a finished snapshot of a volume of 1 GB in another app."""

    app: AppName
    snapshot_id: SnapshotId
    region: str
    image: str
    absent_app: AppName = _ABSENT_APP

    @property
    def volume(self) -> ScratchVolume:
        """A volume to make."""
        guest = Guest("shared", 1, 512)
        return ScratchVolume(self.app, "fk_contract_1", self.region, 1, self.snapshot_id, guest, self.image)

    def machine(self, volume_id: VolumeId | None) -> WorkerMachine:
        """A machine to make."""
        return WorkerMachine(
            app=self.app,
            name="flykeep-worker-contract-1",
            region=self.region,
            image=self.image,
            guest=Guest("shared", 1, 512),
            volume_id=volume_id,
            mount="/snapshot",
            command=("sleep", "600"),
            run_id=RunId("contract"),
        )


Check = Callable[[ScratchFly, KnownScratch], Awaitable[None]]


async def makes_a_volume_from_a_snapshot_of_another_app(fly: ScratchFly, known: KnownScratch) -> None:
    async with _volume(fly, known) as made:
        assert (made.app, made.name, made.region, made.size_gb) == (known.app, "fk_contract_1", known.region, 1)
        assert made.attached_machine_id is None
        assert not made.is_leaving
        assert [one.id for one in await fly.app_volumes(known.app)] == [made.id]
        assert (await _usable(fly, made)).id == made.id


async def makes_an_empty_volume(fly: ScratchFly, known: KnownScratch) -> None:
    made = await fly.create_volume(replace(known.volume, snapshot_id=None))
    assert (await _usable(fly, made)).id == made.id
    await fly.delete_volume(known.app, made.id)


async def makes_a_machine_that_is_tagged_and_mounts_the_volume(fly: ScratchFly, known: KnownScratch) -> None:
    async with _machine(fly, known) as (machine, volume):
        (listed,) = await fly.machines(known.app)
        assert (listed.id, listed.name, listed.app) == (machine.id, "flykeep-worker-contract-1", known.app)
        assert listed.is_started
        assert [mount.volume_id for mount in listed.mounts] == [volume.id]
        metadata = json.loads(listed.config_json or "{}")["metadata"]
        assert metadata[OWNER_KEY] == "contract"
        assert metadata["fly_process_group"] == WORKER_GROUP
        assert "fly_platform_version" not in metadata
        (attached,) = await fly.app_volumes(known.app)
        assert attached.attached_machine_id == machine.id


async def gives_standard_input_to_a_command(fly: ScratchFly, known: KnownScratch) -> None:
    async with _machine(fly, known) as (machine, _):
        result = await fly.execute_with_input(known.app, machine.id, ("cat",), stdin="é\n'x'", within=_SOON)
        assert (result.exit_code, result.stdout) == (0, "é\n'x'")
        huge = "x" * (_MOST_INPUT_BYTES + 1)
        try:
            await fly.execute_with_input(known.app, machine.id, ("cat",), stdin=huge, within=_SOON)
        except FlyInvalidRequestError as error:
            text = str(error)
        else:
            raise AssertionError("took more input than Fly does")
        assert "xxx" not in text


async def says_when_a_state_was_not_reached_in_time(fly: ScratchFly, known: KnownScratch) -> None:
    async with _machine(fly, known) as (machine, _):
        within = timedelta(seconds=2)
        assert not await fly.wait_for_state(known.app, machine.id, "stopped", within=within)
        assert await fly.wait_for_state(known.app, machine.id, "started", within=within)


async def deletes_no_volume_that_is_attached(fly: ScratchFly, known: KnownScratch) -> None:
    async with _machine(fly, known) as (_, volume):
        try:
            await fly.delete_volume(known.app, volume.id)
        except FlyPreconditionError:
            assert [one.id for one in await fly.app_volumes(known.app)] == [volume.id]
        else:
            raise AssertionError("deleted a volume that a machine has")


async def removes_what_was_made_and_what_is_gone_already(fly: ScratchFly, known: KnownScratch) -> None:
    async with _machine(fly, known) as (machine, volume):
        for _ in range(2):
            await fly.destroy_machine(known.app, machine.id)
            assert await fly.wait_for_state(known.app, machine.id, "destroyed", within=_SOON)
            await _delete(fly, volume)
        assert await fly.app_volumes(known.app) == ()
        assert [one for one in await fly.machines(known.app) if one.state != "destroyed"] == []
    await fly.destroy_machine(known.app, MachineId("00000000000000"))
    await fly.delete_volume(known.app, VolumeId("vol_00000000000000000"))


async def says_not_found_for_an_app_that_is_not_there(fly: ScratchFly, known: KnownScratch) -> None:
    for call in (
        fly.machines(known.absent_app),
        fly.app_volumes(known.absent_app),
        fly.create_volume(replace(known.volume, app=known.absent_app)),
        fly.create_machine(replace(known.machine(None), app=known.absent_app)),
    ):
        try:
            result: object = await call
        except FlyNotFoundError:
            continue
        raise AssertionError(f"answered {result!r} instead of refusing")


@asynccontextmanager
async def _volume(fly: ScratchFly, known: KnownScratch) -> AsyncIterator[Volume]:
    made = await fly.create_volume(known.volume)
    try:
        yield made
    finally:
        await _delete(fly, made)


@asynccontextmanager
async def _machine(fly: ScratchFly, known: KnownScratch) -> AsyncIterator[tuple[Machine, Volume]]:
    async with _volume(fly, known) as volume:
        machine = await fly.create_machine(known.machine((await _usable(fly, volume)).id))
        try:
            assert await fly.wait_for_state(known.app, machine.id, "started", within=_SOON)
            yield machine, volume
        finally:
            await fly.destroy_machine(known.app, machine.id)


async def _usable(fly: ScratchFly, volume: Volume) -> Volume:
    for _ in range(_LOOKS):  # each look takes its turn at Fly's pace
        volume = await fly.volume(volume.app, volume.id)
        if volume.state == "created":
            return volume
    raise AssertionError(f"the volume stays {volume.state}")


async def _delete(fly: ScratchFly, volume: Volume) -> None:
    for _ in range(_LOOKS):
        try:
            return await fly.delete_volume(volume.app, volume.id)
        except FlyPreconditionError:
            continue  # Fly notices late that its machine has gone
    raise AssertionError("the volume stays attached")


CHECKS: tuple[Check, ...] = (
    makes_a_volume_from_a_snapshot_of_another_app,
    makes_an_empty_volume,
    makes_a_machine_that_is_tagged_and_mounts_the_volume,
    gives_standard_input_to_a_command,
    says_when_a_state_was_not_reached_in_time,
    deletes_no_volume_that_is_attached,
    removes_what_was_made_and_what_is_gone_already,
    says_not_found_for_an_app_that_is_not_there,
)

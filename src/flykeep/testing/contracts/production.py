"""What every `ports.production.ProductionFly` must do: run each of CHECKS against it, given an app to change.

A check raises AssertionError where the promise is broken. It leaves the app changed, so each wants one of its own.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from flykeep.domain.errors import (
    FlyConflictError,
    FlyError,
    FlyInvalidRequestError,
    FlyNameTakenError,
    FlyNotFoundError,
    FlyPreconditionError,
)
from flykeep.domain.fly import Machine, Volume
from flykeep.domain.ids import AppName, MachineId, SnapshotId, VolumeId
from flykeep.ports.fly import Lease
from flykeep.ports.production import ProductionFly, ProductionMachine, ProductionVolume
from flykeep.ports.scratch import Guest

_SOON = timedelta(seconds=50)
_LOOKS = 20
_ABSENT_APP = AppName("flykeep-contract-no-such-app")
_ABSENT_MACHINE = MachineId("00000000000000")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownProduction:
    """`app` has one started machine with a health check named `alive` that passes, on one volume of 2 GB.

    `snapshot_id` is a finished snapshot of that volume. `are_names_unique` says what Fly thinks of a second machine of
    one name. `suspend` suspends the machine, which flykeep itself never asks for.
    """

    app: AppName
    machine_id: MachineId
    volume_id: VolumeId
    snapshot_id: SnapshotId
    suspend: Callable[[], None]
    are_names_unique: bool = False
    absent_app: AppName = _ABSENT_APP
    absent_machine_id: MachineId = _ABSENT_MACHINE


Check = Callable[[ProductionFly, KnownProduction], Awaitable[None]]


async def makes_a_volume_of_the_same_name_beside_the_old_one(fly: ProductionFly, known: KnownProduction) -> None:
    old = await fly.volume(known.app, known.volume_id)
    made = await fly.make_volume(_volume(known, old))
    assert made.id != old.id
    assert (made.app, made.name, made.region, made.size_gb) == (known.app, old.name, old.region, 2)
    assert (made.attached_machine_id, made.is_automatic_snapshot_on, made.snapshot_retention_days) == (None, True, 9)
    assert {one.id for one in await fly.app_volumes(known.app)} == {old.id, made.id}
    assert (await _usable(fly, made)).id == made.id
    for _ in range(2):
        await fly.delete_volume(known.app, made.id)
    assert [one.id for one in await fly.app_volumes(known.app)] == [old.id]


async def makes_an_empty_volume(fly: ProductionFly, known: KnownProduction) -> None:
    old = await fly.volume(known.app, known.volume_id)
    spec = replace(_volume(known, old), snapshot_id=None, size_gb=1, guest=None, image=None, retention_days=None)
    made = await _usable(fly, await fly.make_volume(replace(spec, is_automatic_snapshot_on=False)))
    assert (made.size_gb, made.is_automatic_snapshot_on) == (1, False)


async def refuses_a_volume_smaller_than_its_snapshot(fly: ProductionFly, known: KnownProduction) -> None:
    old = await fly.volume(known.app, known.volume_id)
    assert isinstance(await _error_of(fly.make_volume(replace(_volume(known, old), size_gb=1))), FlyInvalidRequestError)
    assert [one.id for one in await fly.app_volumes(known.app)] == [old.id]


async def makes_a_machine_as_it_was_saved_and_does_not_launch_it(fly: ProductionFly, known: KnownProduction) -> None:
    old = await fly.machine(known.app, known.machine_id)
    made, volume = await _second(fly, known, name="second")
    assert (made.name, made.app, made.region, made.state) == ("second", known.app, old.region, "created")
    config = _config(made)
    assert config["mounts"][0]["volume"] == volume.id
    assert {key: value for key, value in config.items() if key != "mounts"} == {
        key: value for key, value in _config(old).items() if key != "mounts"
    }
    assert (await fly.volume(known.app, volume.id)).attached_machine_id == made.id
    assert {one.id for one in await fly.machines(known.app)} == {old.id, made.id}
    assert (await fly.machine(known.app, known.machine_id)).is_started


async def launches_a_machine_where_that_is_asked_for(fly: ProductionFly, known: KnownProduction) -> None:
    made, _ = await _second(fly, known, name="second", is_launched=True)
    assert await fly.wait_for_state(known.app, made.id, "started", within=_SOON)


async def says_whether_a_machines_name_is_taken(fly: ProductionFly, known: KnownProduction) -> None:
    old = await fly.machine(known.app, known.machine_id)
    if not known.are_names_unique:
        assert (await _second(fly, known, name=old.name))[0].name == old.name
        return
    error = await _error_of(_second(fly, known, name=old.name))
    assert isinstance(error, FlyNameTakenError), repr(error)
    assert {one.id for one in await fly.machines(known.app)} == {old.id}


async def gives_one_volume_to_one_machine(fly: ProductionFly, known: KnownProduction) -> None:
    old = await fly.machine(known.app, known.machine_id)
    spec = ProductionMachine(known.app, "second", old.region, old.config_json or "")
    assert isinstance(await _error_of(fly.make_machine(spec)), FlyPreconditionError)
    assert {one.id for one in await fly.machines(known.app)} == {old.id}


async def stops_and_starts_for_the_holder_and_twice_is_fine(fly: ProductionFly, known: KnownProduction) -> None:
    lease = await _lease(fly, known)
    for _ in range(2):
        await fly.stop_machine(lease)
        assert await fly.wait_for_state(known.app, known.machine_id, "stopped", within=_SOON)
    assert not await fly.wait_for_state(known.app, known.machine_id, "started", within=timedelta(seconds=2))
    for _ in range(2):
        await fly.start_machine(lease)
        assert await fly.wait_for_state(known.app, known.machine_id, "started", within=_SOON)
    assert (await fly.volume(known.app, known.volume_id)).attached_machine_id == known.machine_id


async def stops_a_suspended_machine_without_resuming_it(fly: ProductionFly, known: KnownProduction) -> None:
    known.suspend()
    assert (await fly.machine(known.app, known.machine_id)).state == "suspended"
    await fly.stop_machine(await _lease(fly, known))
    assert (await fly.machine(known.app, known.machine_id)).state == "stopped"


async def replaces_a_configuration_and_stops_what_is_not_launched(fly: ProductionFly, known: KnownProduction) -> None:
    before = await fly.machine(known.app, known.machine_id)
    config = _config(before) | {"env": {"CHANGED": "1"}}
    lease = await _lease(fly, known)
    changed = await fly.update_machine(lease, json.dumps(config), is_launched=False)
    assert changed.id == known.machine_id
    assert changed.instance_id != before.instance_id
    assert await fly.wait_for_state(known.app, known.machine_id, "stopped", within=_SOON)
    assert _config(await fly.machine(known.app, known.machine_id)) == config
    await fly.update_machine(lease, json.dumps(config), is_launched=True)
    assert await fly.wait_for_state(known.app, known.machine_id, "started", within=_SOON)


async def refuses_to_change_which_volume_is_mounted(fly: ProductionFly, known: KnownProduction) -> None:
    config = _config(await fly.machine(known.app, known.machine_id))
    other = await fly.make_volume(_volume(known, await fly.volume(known.app, known.volume_id)))
    config["mounts"][0]["volume"] = other.id
    lease = await _lease(fly, known)
    error = await _error_of(fly.update_machine(lease, json.dumps(config), is_launched=False))
    assert isinstance(error, FlyInvalidRequestError), repr(error)
    assert (await fly.machine(known.app, known.machine_id)).is_started


async def sets_and_removes_metadata_without_a_restart_or_a_lease(fly: ProductionFly, known: KnownProduction) -> None:
    await _lease(fly, known)
    before = await fly.machine(known.app, known.machine_id)
    for _ in range(2):
        await fly.set_metadata(known.app, known.machine_id, "flykeep_note", "kept")
    assert _metadata(await fly.machine(known.app, known.machine_id))["flykeep_note"] == "kept"
    for _ in range(2):
        await fly.set_metadata(known.app, known.machine_id, "flykeep_note", None)
    after = await fly.machine(known.app, known.machine_id)
    assert _metadata(after) == _metadata(before)
    assert (after.state, after.instance_id) == ("started", before.instance_id)


async def changes_nothing_for_who_does_not_hold_the_machine(fly: ProductionFly, known: KnownProduction) -> None:
    config = (await fly.machine(known.app, known.machine_id)).config_json or ""
    ended = await _lease(fly, known)
    assert await fly.lease_holder(known.app, known.machine_id)
    assert isinstance(await _error_of(_lease(fly, known)), FlyConflictError)
    for _ in range(2):
        await fly.release_lease(ended)
    assert await fly.lease_holder(known.app, known.machine_id) is None
    for is_held, expected in ((False, FlyPreconditionError), (True, FlyConflictError)):
        if is_held:
            await _lease(fly, known)
        for change in (
            fly.stop_machine(ended),
            fly.cordon_machine(ended),
            fly.uncordon_machine(ended),
            fly.update_machine(ended, config, is_launched=False),
            fly.destroy_machine(known.app, known.machine_id, lease=ended),
        ):
            error = await _error_of(change)
            assert isinstance(error, expected), repr(error)
    assert isinstance(await _error_of(fly.destroy_machine(known.app, known.machine_id)), FlyConflictError)
    assert (await fly.machine(known.app, known.machine_id)).is_started


async def cordons_and_uncordons_twice(fly: ProductionFly, known: KnownProduction) -> None:
    lease = await _lease(fly, known)
    for _ in range(2):
        await fly.cordon_machine(lease)
    for _ in range(2):
        await fly.uncordon_machine(lease)
    assert (await fly.machine(known.app, known.machine_id)).is_started


async def destroys_and_then_deletes_and_twice_is_fine(fly: ProductionFly, known: KnownProduction) -> None:
    assert isinstance(await _error_of(fly.delete_volume(known.app, known.volume_id)), FlyPreconditionError)
    running = fly.destroy_machine(known.app, known.machine_id, is_forced=False)
    assert isinstance(await _error_of(running), FlyPreconditionError)
    lease = await _lease(fly, known)
    await fly.destroy_machine(known.app, known.machine_id, lease=lease)
    await fly.destroy_machine(known.app, known.machine_id)
    assert await fly.wait_for_state(known.app, known.machine_id, "destroyed", within=_SOON)
    assert await fly.machines(known.app) == ()
    for _ in range(2):
        await _delete(fly, known.app, known.volume_id)
    assert await fly.app_volumes(known.app) == ()
    await fly.destroy_machine(known.app, known.absent_machine_id)


async def destroys_a_stopped_machine_without_force(fly: ProductionFly, known: KnownProduction) -> None:
    lease = await _lease(fly, known)
    await fly.stop_machine(lease)
    await fly.destroy_machine(known.app, known.machine_id, lease=lease, is_forced=False)
    assert await fly.machines(known.app) == ()


async def reads_the_health_checks_of_a_machine(fly: ProductionFly, known: KnownProduction) -> None:
    (check,) = await fly.machine_checks(known.app, known.machine_id)
    assert (check.name, check.is_passing) == ("alive", True)
    await fly.stop_machine(await _lease(fly, known))
    (check,) = await fly.machine_checks(known.app, known.machine_id)
    assert not check.is_passing


async def says_not_found_for_what_is_not_there(fly: ProductionFly, known: KnownProduction) -> None:
    old = await fly.volume(known.app, known.volume_id)
    spec = replace(_volume(known, old), app=known.absent_app)
    absent = Lease(known.app, known.absent_machine_id, "nonce")
    for call in (
        fly.machines(known.absent_app),
        fly.app_volumes(known.absent_app),
        fly.make_volume(spec),
        fly.make_volume(replace(_volume(known, old), snapshot_id=SnapshotId("vs_nowhere"))),
        fly.make_machine(ProductionMachine(known.absent_app, "any", old.region, '{"image":"any"}')),
        fly.machine(known.app, known.absent_machine_id),
        fly.machine_checks(known.app, known.absent_machine_id),
        fly.set_metadata(known.app, known.absent_machine_id, "key", "value"),
        fly.set_metadata(known.app, known.absent_machine_id, "key", None),
        fly.start_machine(absent),
        fly.stop_machine(absent),
    ):
        error = await _error_of(call)
        assert isinstance(error, FlyNotFoundError), repr(error)


async def _lease(fly: ProductionFly, known: KnownProduction) -> Lease:
    within = timedelta(minutes=10)
    return await fly.acquire_lease(known.app, known.machine_id, within=within, reason="the contract")


async def _second(
    fly: ProductionFly, known: KnownProduction, *, name: str, is_launched: bool = False
) -> tuple[Machine, Volume]:
    """Another machine like the first, on a volume of its own."""
    old = await fly.machine(known.app, known.machine_id)
    made = await _usable(fly, await fly.make_volume(_volume(known, await fly.volume(known.app, known.volume_id))))
    config = _config(old)
    config["mounts"][0]["volume"] = made.id
    spec = ProductionMachine(known.app, name, made.region, json.dumps(config), is_cordoned=True)
    return await fly.make_machine(replace(spec, is_launched=is_launched)), made


def _volume(known: KnownProduction, old: Volume) -> ProductionVolume:
    guest = Guest("shared", 1, 512)
    return ProductionVolume(known.app, old.name, old.region, 2, known.snapshot_id, guest, "image", retention_days=9)


def _config(machine: Machine) -> dict[str, Any]:
    config = json.loads(machine.config_json or "")
    assert isinstance(config, dict)
    return config


def _metadata(machine: Machine) -> dict[str, Any]:
    return dict(_config(machine).get("metadata") or {})


async def _usable(fly: ProductionFly, volume: Volume) -> Volume:
    for _ in range(_LOOKS):  # each look takes its turn at Fly's pace
        volume = await fly.volume(volume.app, volume.id)
        if volume.state == "created":
            return volume
    raise AssertionError(f"the volume stays {volume.state}")


async def _delete(fly: ProductionFly, app: AppName, volume_id: VolumeId) -> None:
    for _ in range(_LOOKS):
        try:
            return await fly.delete_volume(app, volume_id)
        except FlyPreconditionError:
            continue  # Fly notices late that its machine has gone
    raise AssertionError("the volume stays attached")


async def _error_of(call: Awaitable[object]) -> FlyError:
    try:
        answer = await call
    except FlyError as error:
        return error
    raise AssertionError(f"answered {answer!r} instead of refusing")


CHECKS: tuple[Check, ...] = (
    makes_a_volume_of_the_same_name_beside_the_old_one,
    makes_an_empty_volume,
    refuses_a_volume_smaller_than_its_snapshot,
    makes_a_machine_as_it_was_saved_and_does_not_launch_it,
    launches_a_machine_where_that_is_asked_for,
    says_whether_a_machines_name_is_taken,
    gives_one_volume_to_one_machine,
    stops_and_starts_for_the_holder_and_twice_is_fine,
    stops_a_suspended_machine_without_resuming_it,
    replaces_a_configuration_and_stops_what_is_not_launched,
    refuses_to_change_which_volume_is_mounted,
    sets_and_removes_metadata_without_a_restart_or_a_lease,
    changes_nothing_for_who_does_not_hold_the_machine,
    cordons_and_uncordons_twice,
    destroys_and_then_deletes_and_twice_is_fine,
    destroys_a_stopped_machine_without_force,
    reads_the_health_checks_of_a_machine,
    says_not_found_for_what_is_not_there,
)

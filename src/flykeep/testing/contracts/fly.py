"""What every `ports.fly.Fly` must do: run each of CHECKS against it, given what that Fly holds.

A check raises AssertionError where the promise is broken. `requests_a_snapshot_that_the_list_then_names` and the checks
of commands act on the named volume and machine; all others only read.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import FlyError, FlyForbiddenError, FlyNotFoundError, FlyPreconditionError
from flykeep.domain.fly import HostStatus
from flykeep.domain.ids import AppName, MachineId, VolumeId, VolumeName
from flykeep.ports.fly import Fly

_WITHIN = timedelta(seconds=20)
_ABSENT_APP = AppName("flykeep-contract-no-such-app")
_ABSENT_MACHINE = MachineId("00000000000000")
_ABSENT_VOLUME = VolumeId("vol_00000000000000000")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFly:
    """Things that exist in the Fly under test, and some that don't.

    `machine_id` is started on a host that answers and mounts `volume_id` at `mount_path`; `public_key` is an
    authorized_keys line of an ed25519 key.
    """

    org: str
    app: AppName
    machine_id: MachineId
    volume_id: VolumeId
    volume_name: VolumeName
    mount_path: str
    stopped_app: AppName
    stopped_machine_id: MachineId
    public_key: str
    absent_app: AppName = _ABSENT_APP
    absent_machine_id: MachineId = _ABSENT_MACHINE
    absent_volume_id: VolumeId = _ABSENT_VOLUME


Check = Callable[[Fly, KnownFly], Awaitable[None]]


async def lists_the_apps(fly: Fly, known: KnownFly) -> None:
    names = [app.name for app in await fly.apps()]
    assert known.app in names
    assert known.absent_app not in names
    assert len(names) == len(set(names))


async def inventories_every_machine_and_volume_once(fly: Fly, known: KnownFly) -> None:
    inventory = await fly.inventory()
    assert inventory.is_complete
    volumes = {volume.id: volume for volume in inventory.volumes}
    assert len(volumes) == len(inventory.volumes)
    volume = volumes[known.volume_id]
    assert (volume.app, volume.name, volume.attached_machine_id) == (known.app, known.volume_name, known.machine_id)
    machines = {machine.id: machine for machine in inventory.machines}
    assert len(machines) == len(inventory.machines)
    assert machines[known.machine_id].app == known.app
    assert machines[known.machine_id].is_started
    assert not machines[known.stopped_machine_id].is_started


async def never_gives_a_config_from_the_inventory(fly: Fly, known: KnownFly) -> None:
    machines = {machine.id: machine.config_json for machine in (await fly.inventory()).machines}
    assert known.machine_id in machines
    assert set(machines.values()) == {None}


async def tells_every_instant_in_utc(fly: Fly, known: KnownFly) -> None:
    inventory = await fly.inventory()
    snapshots = await fly.snapshots(known.app, known.volume_id)
    instants = [inventory.read_at, *(v.created_at for v in inventory.volumes), *(s.created_at for s in snapshots)]
    assert all(at is None or at.utcoffset() == timedelta(0) for at in instants)


async def reads_one_machine_with_its_mount_and_complete_config(fly: Fly, known: KnownFly) -> None:
    machine = await fly.machine(known.app, known.machine_id)
    assert (machine.id, machine.app) == (known.machine_id, known.app)
    assert machine.is_started
    assert machine.host_status is HostStatus.OK
    assert [(mount.volume_id, mount.path) for mount in machine.mounts] == [(known.volume_id, known.mount_path)]
    assert machine.private_ip
    assert machine.config_json is not None
    config = json.loads(machine.config_json)
    assert config["image"]
    assert config["mounts"][0]["volume"] == known.volume_id


async def lists_an_apps_machines_as_it_reads_them_singly(fly: Fly, known: KnownFly) -> None:
    machines = {machine.id: machine for machine in await fly.machines(known.app)}
    single = await fly.machine(known.app, known.machine_id)
    assert machines[known.machine_id].mounts == single.mounts
    assert machines[known.machine_id].config_json == single.config_json


async def reads_one_volume(fly: Fly, known: KnownFly) -> None:
    volume = await fly.volume(known.app, known.volume_id)
    assert (volume.id, volume.app, volume.name) == (known.volume_id, known.app, known.volume_name)
    assert volume.attached_machine_id == known.machine_id
    assert volume.size_gb >= 1
    assert not volume.is_leaving


async def lists_snapshots_newest_first(fly: Fly, known: KnownFly) -> None:
    snapshots = await fly.snapshots(known.app, known.volume_id)
    instants = [row.created_at for row in snapshots]
    dated = [at for at in instants if at is not None]
    assert dated == sorted(dated, reverse=True)
    assert instants[len(instants) - len(dated) :] == dated
    assert all(row.created_at is not None and row.id for row in snapshots if row.is_restorable)


async def requests_a_snapshot_that_the_list_then_names(fly: Fly, known: KnownFly) -> None:
    before = {row.id for row in await fly.snapshots(known.app, known.volume_id)}
    request = await fly.request_snapshot(known.app, known.volume_id)
    assert request.graph_id is not None
    assert request.graph_id not in before
    for _ in range(60):  # each look takes its turn at Fly's pace
        rows = await fly.snapshots(known.app, known.volume_id)
        named = [row for row in rows if row.id == request.graph_id]
        if named and named[0].is_restorable:
            return
        assert all(row.is_pending for row in named)
    raise AssertionError("the snapshot was never listed as done")


async def runs_a_command_and_gives_its_output(fly: Fly, known: KnownFly) -> None:
    result = await fly.execute(
        known.app, known.machine_id, ("sh", "-c", "echo out; echo err >&2; exit 7"), within=_WITHIN
    )
    assert (result.exit_code, result.stdout, result.stderr) == (7, "out\n", "err\n")
    assert not result.is_success
    silent = await fly.execute(known.app, known.machine_id, ("true",), within=_WITHIN)
    assert (silent.exit_code, silent.stdout, silent.stderr) == (0, "", "")


async def keeps_the_arguments_of_a_command_apart(fly: Fly, known: KnownFly) -> None:
    result = await fly.execute(
        known.app, known.machine_id, ("printf", "[%s]", "two words", "$HOME", "é", "a'b"), within=_WITHIN
    )
    assert result.stdout == "[two words][$HOME][é][a'b]"


async def refuses_a_command_on_a_stopped_machine(fly: Fly, known: KnownFly) -> None:
    error = await _error_of(fly.execute(known.stopped_app, known.stopped_machine_id, ("true",), within=_WITHIN))
    assert isinstance(error, FlyPreconditionError)
    assert error.request_id


async def says_not_found_for_what_is_not_there(fly: Fly, known: KnownFly) -> None:
    for call in (
        fly.machines(known.absent_app),
        fly.machine(known.app, known.absent_machine_id),
        fly.volume(known.app, known.absent_volume_id),
        fly.snapshots(known.app, known.absent_volume_id),
        fly.request_snapshot(known.app, known.absent_volume_id),
        fly.execute(known.app, known.absent_machine_id, ("true",), within=_WITHIN),
    ):
        error = await _error_of(call)
        assert isinstance(error, FlyNotFoundError), error
        assert error.request_id, error


async def issues_a_certificate_for_the_key(fly: Fly, known: KnownFly) -> None:
    line = await fly.issue_certificate(known.app, known.public_key)
    kind, _, rest = line.partition(" ")
    assert kind == "ssh-ed25519-cert-v01@openssh.com"
    assert rest
    assert "\n" not in line


async def issues_no_certificate_for_an_app_that_is_not_there(fly: Fly, known: KnownFly) -> None:
    error = await _error_of(fly.issue_certificate(known.absent_app, known.public_key))
    assert isinstance(error, FlyNotFoundError | FlyForbiddenError)


async def tells_whose_token_it_uses(fly: Fly, known: KnownFly) -> None:
    assert known.org in {token.org_slug for token in await fly.token_info()}


async def _error_of(call: Awaitable[object]) -> FlyError:
    try:
        result = await call
    except FlyError as error:
        return error
    raise AssertionError(f"answered {result!r} instead of refusing")


CHECKS: tuple[Check, ...] = (
    lists_the_apps,
    inventories_every_machine_and_volume_once,
    never_gives_a_config_from_the_inventory,
    tells_every_instant_in_utc,
    reads_one_machine_with_its_mount_and_complete_config,
    lists_an_apps_machines_as_it_reads_them_singly,
    reads_one_volume,
    lists_snapshots_newest_first,
    requests_a_snapshot_that_the_list_then_names,
    runs_a_command_and_gives_its_output,
    keeps_the_arguments_of_a_command_apart,
    refuses_a_command_on_a_stopped_machine,
    says_not_found_for_what_is_not_there,
    issues_a_certificate_for_the_key,
    issues_no_certificate_for_an_app_that_is_not_there,
    tells_whose_token_it_uses,
)

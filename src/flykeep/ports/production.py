"""What a restore needs of Fly in an app that people use: volumes of the mount's name, machines from saved configs.

Everything here changes production. The caller journals each call before it makes it, and no call is sent twice: on an
unknown outcome (FlyUnavailableError, FlyUnexpectedAnswerError) the caller looks at what is there before it decides.
Machines are changed by the holder of their lease only. Errors: the `fly.*` family; FlyCapacityError where there is no
room, FlyConflictError while somebody else holds a machine or its configuration has another version by now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from flykeep.domain.fly import Machine, MachineCheck, Volume
from flykeep.domain.ids import AppName, MachineId, SnapshotId, VolumeId
from flykeep.ports.fly import Lease
from flykeep.ports.scratch import Guest


@dataclass(frozen=True, slots=True)
class ProductionVolume:
    """A volume that will be mounted in production. `snapshot_id` None makes an empty one.

    Volumes bear the name of their mount, which is not unique: who looks for one of unknown outcome compares with the
    ids that were there before.
    """

    app: AppName
    name: str
    region: str
    size_gb: int
    snapshot_id: SnapshotId | None
    guest: Guest | None
    image: str | None
    retention_days: int | None
    is_automatic_snapshot_on: bool = True


@dataclass(frozen=True, slots=True)
class ProductionMachine:
    """A machine as it was saved; `config_json` is the whole configuration with its mount set, sent as it is.

    `is_cordoned` keeps it out of the proxy's routing from its first instant, until it is uncordoned.
    """

    app: AppName
    name: str
    region: str
    config_json: str = field(repr=False)
    is_launched: bool = False
    is_cordoned: bool = False
    min_secrets_version: int | None = None


class ProductionFly(Protocol):
    async def app_volumes(self, app: AppName) -> tuple[Volume, ...]:
        """Those that exist; what Fly is about to destroy is left out."""
        ...

    async def volume(self, app: AppName, volume_id: VolumeId) -> Volume: ...

    async def make_volume(self, spec: ProductionVolume) -> Volume:
        """Ask for a volume; it may still be restoring when this returns."""
        ...

    async def delete_volume(self, app: AppName, volume_id: VolumeId) -> None:
        """Already gone is fine. Raises FlyPreconditionError while it is attached."""
        ...

    async def machines(self, app: AppName) -> tuple[Machine, ...]:
        """The app's machines, with configuration where their hosts answer."""
        ...

    async def machine(self, app: AppName, machine_id: MachineId) -> Machine: ...

    async def make_machine(self, spec: ProductionMachine) -> Machine:
        """Create it, launched only where the spec says so. Raises FlyNameTakenError where Fly wants names unique."""
        ...

    async def update_machine(self, lease: Lease, config_json: str, *, is_launched: bool) -> Machine:
        """Replace the whole configuration; a running machine is stopped by it where `is_launched` is false."""
        ...

    async def set_metadata(self, app: AppName, machine_id: MachineId, key: str, value: str | None) -> None:
        """Set one key, or remove it. Neither restarts the machine nor needs its lease; removing twice is fine."""
        ...

    async def start_machine(self, lease: Lease) -> None:
        """Ask for it; one that is started already is fine. Raises FlyPreconditionError from a state it can't leave."""
        ...

    async def stop_machine(self, lease: Lease) -> None:
        """Ask for it; one that is stopped already is fine. A suspended one is stopped without being resumed."""
        ...

    async def cordon_machine(self, lease: Lease) -> None:
        """Take it out of the proxy's routing; a second time is fine."""
        ...

    async def uncordon_machine(self, lease: Lease) -> None:
        """Put it back into the proxy's routing; a second time is fine."""
        ...

    async def destroy_machine(
        self, app: AppName, machine_id: MachineId, *, lease: Lease | None = None, is_forced: bool = True
    ) -> None:
        """Already gone is fine. Without force Fly refuses one that runs: FlyPreconditionError.

        Who holds its lease shows it; without one, FlyConflictError while anybody holds it.
        """
        ...

    async def machine_checks(self, app: AppName, machine_id: MachineId) -> tuple[MachineCheck, ...]: ...

    async def wait_for_state(self, app: AppName, machine_id: MachineId, state: str, *, within: timedelta) -> bool:
        """False when `within` passed first."""
        ...

    async def lease_holder(self, app: AppName, machine_id: MachineId) -> str | None:
        """Who holds the machine now, in Fly's words; None where nobody does."""
        ...

    async def acquire_lease(self, app: AppName, machine_id: MachineId, *, within: timedelta, reason: str) -> Lease: ...

    async def release_lease(self, lease: Lease) -> None: ...

"""What jobs need from Fly, split by capability. Errors: the `fly.*` family of flykeep.domain.errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from flykeep.domain.fly import (
    App,
    CommandResult,
    Inventory,
    Machine,
    MachineCheck,
    SnapshotRequest,
    TokenInfo,
    Volume,
    VolumeSnapshot,
)
from flykeep.domain.ids import AppName, MachineId, VolumeId


class InventoryReader(Protocol):
    async def inventory(self) -> Inventory:
        """All machines and volumes of the organization, pages joined; `incomplete_regions` is never dropped.

        Machines of this listing carry no complete configuration. Raises FlyError when any page fails: half a listing
        is never returned as a whole one.
        """
        ...

    async def apps(self) -> tuple[App, ...]: ...

    async def machine(self, app: AppName, machine_id: MachineId) -> Machine:
        """One machine with its mounts; `config_json` only where its host answers."""
        ...

    async def machines(self, app: AppName) -> tuple[Machine, ...]:
        """The app's machines, with configuration where their hosts answer."""
        ...

    async def volume(self, app: AppName, volume_id: VolumeId) -> Volume: ...


class SnapshotReader(Protocol):
    async def snapshots(self, app: AppName, volume_id: VolumeId) -> tuple[VolumeSnapshot, ...]:
        """Newest first; rows without an instant come first, for they are not done yet."""
        ...


class SnapshotMaker(SnapshotReader, Protocol):
    async def request_snapshot(self, app: AppName, volume_id: VolumeId) -> SnapshotRequest:
        """Ask for a snapshot; returns before it is made. Never repeated on an unknown outcome: the caller looks."""
        ...


class CommandRunner(Protocol):
    async def execute(
        self, app: AppName, machine_id: MachineId, command: tuple[str, ...], *, within: timedelta
    ) -> CommandResult:
        """Run an argument list inside a started machine, at most 60 s.

        Raises FlyConflictError while a deploy holds the lease, FlyPreconditionError when the machine is not started,
        FlyUnavailableError when the outcome is unknown. A command that ran and failed is a result, not an error.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """A machine held against everybody else's changes; `nonce` is what its holder shows."""

    app: AppName
    machine_id: MachineId
    nonce: str = field(repr=False)


class MachineController(Protocol):
    """Restarting a machine that people use, held against deploys meanwhile."""

    async def lease_holder(self, app: AppName, machine_id: MachineId) -> str | None:
        """Who holds the machine now, in Fly's words; None where nobody does."""
        ...

    async def acquire_lease(self, app: AppName, machine_id: MachineId, *, within: timedelta, reason: str) -> Lease:
        """Hold the machine; Fly ends it by itself after `within`. Raises FlyConflictError where somebody else does."""
        ...

    async def renew_lease(self, lease: Lease, *, within: timedelta) -> None:
        """Hold it for `within` from now on. Raises FlyPreconditionError where it has ended."""
        ...

    async def release_lease(self, lease: Lease) -> None:
        """Let go; one that has ended already is fine."""
        ...

    async def restart_machine(self, lease: Lease) -> None:
        """Stop and start it. Sent once: with FlyUnavailableError it may have happened, so look."""
        ...

    async def machine_checks(self, app: AppName, machine_id: MachineId) -> tuple[MachineCheck, ...]:
        """What Fly's health checks of the machine say now; empty where it has none."""
        ...

    async def wait_machine(self, app: AppName, machine_id: MachineId, state: str, within: timedelta) -> None:
        """Raises FlyPreconditionError when it is not in `state` within that time."""
        ...


class CertificateIssuer(Protocol):
    async def issue_certificate(self, app: AppName, public_key: str) -> str:
        """A one-hour SSH user certificate (one `ssh-ed25519-cert-v01@openssh.com ...` line) for root in `app`."""
        ...


class TokenReader(Protocol):
    async def token_info(self) -> tuple[TokenInfo, ...]:
        """Raises FlyUnauthorizedError for a token that Fly does not accept."""
        ...


class Fly(InventoryReader, SnapshotMaker, CommandRunner, CertificateIssuer, TokenReader, Protocol):
    """All of it: what bootstrap builds once and hands out by capability."""

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SshAccess:
    """Everything one SSH connection needs. Lives in memory and in one worker's private directory, never elsewhere."""

    host: str
    port: int
    user: str
    private_key: str = field(repr=False)  # OpenSSH PEM
    certificate: str = field(repr=False)


class AccessIssuer(Protocol):
    async def access(self, machine: Machine) -> SshAccess:
        """A fresh key pair with a certificate for this machine; raises SshError when the machine has no address."""
        ...

"""Wire models turned into the domain's facts; unknowns stay unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flykeep.adapters.fly.wire import WireApp, WireExec, WireMachine, WireSnapshot, WireToken, WireVolume
from flykeep.domain.fly import (
    SNAPSHOT_DONE,
    App,
    CommandResult,
    HostStatus,
    Machine,
    Mount,
    TokenInfo,
    Volume,
    VolumeSnapshot,
)
from flykeep.domain.ids import AppName, MachineId, SnapshotId, VolumeId, VolumeName

# A volume that does not say when it was made counts as old: then no grace is granted to it.
UNSAID_CREATION_AT = datetime(1970, 1, 1, tzinfo=UTC)


def app_of(row: WireApp) -> App:
    org = row.organization.slug if row.organization else ""
    return App(name=AppName(row.name), status=row.status, network=row.network or None, org=org or None)


def machine_of(row: WireMachine, *, app: AppName) -> Machine:
    """A machine from a single answer or an app's list.

    Where its host does not answer, `config_json` is None and the mounts are those of `incomplete_config`: good enough
    to name the volume, never to recreate the machine.
    """
    host_status = host_status_of(row.host_status)
    is_complete = host_status is HostStatus.OK and bool(row.config)
    return Machine(
        id=MachineId(row.id),
        app=app,
        name=row.name,
        state=row.state,
        region=row.region,
        private_ip=row.private_ip or None,
        host_status=host_status,
        instance_id=row.instance_id or row.version or None,
        config_json=_canonical(row.config) if is_complete and row.config else None,
        mounts=_mounts_of(row.config or row.incomplete_config),
        image=_pinned_image(row),
    )


def _pinned_image(row: WireMachine) -> str | None:
    """Registry and repository with the digest: a tag may mean another image tomorrow."""
    ref = row.image_ref
    if ref is None or not (ref.registry and ref.repository and ref.digest):
        return None
    return f"{ref.registry}/{ref.repository}@{ref.digest}"


def volume_of(row: WireVolume, *, app: AppName) -> Volume:
    return Volume(
        id=VolumeId(row.id),
        app=app,
        name=VolumeName(row.name),
        state=row.state,
        region=row.region,
        size_gb=row.size_gb,
        attached_machine_id=MachineId(row.attached_machine_id) if row.attached_machine_id else None,
        created_at=row.created_at or UNSAID_CREATION_AT,
        host_status=host_status_of(row.host_status),
        is_automatic_snapshot_on=row.auto_backup_enabled,
        snapshot_retention_days=row.snapshot_retention or None,  # 1 to 60; zero says nothing
        # Zero is what a silent host reports; no mounted filesystem is that empty.
        used_bytes=row.bytes_used or None,
        total_bytes=row.bytes_total or None,
    )


def snapshot_of(row: WireSnapshot) -> VolumeSnapshot:
    return VolumeSnapshot(
        id=SnapshotId(row.id) if row.id else None,
        status=row.status or _status_of_old_row(row),
        created_at=row.created_at,
        size_bytes=row.size,
        volume_size_bytes=row.volume_size,
        retention_days=row.retention_days or None,
        digest=row.digest or None,
    )


def newest_first(snapshots: list[VolumeSnapshot]) -> tuple[VolumeSnapshot, ...]:
    """Rows without an instant, then the youngest; Fly promises no order."""
    undated = [row for row in snapshots if row.created_at is None]
    dated = [(row.created_at, row) for row in snapshots if row.created_at is not None]
    return (*undated, *(row for _, row in sorted(dated, key=lambda pair: pair[0], reverse=True)))


def command_result_of(row: WireExec) -> CommandResult:
    """A result; a command killed by a signal never counts as one that succeeded."""
    exit_code = row.exit_code or (128 + row.exit_signal if row.exit_signal else 0)
    return CommandResult(exit_code=exit_code, stdout=row.stdout, stderr=row.stderr)


def token_of(row: WireToken) -> TokenInfo:
    return TokenInfo(org_slug=row.org_slug or row.organization, apps=tuple(sorted(row.apps)))


def host_status_of(word: str | None) -> HostStatus:
    """Fly's word, or UNKNOWN for every other and for none."""
    try:
        return HostStatus(word or "")
    except ValueError:
        return HostStatus.UNKNOWN


def _status_of_old_row(row: WireSnapshot) -> str:
    """Rows of the older API have no status: done with id, instant and digest, else pending."""
    return SNAPSHOT_DONE if row.id and row.created_at and row.digest else "pending"


def _canonical(config: Mapping[str, Any]) -> str:
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _mounts_of(config: Mapping[str, Any] | None) -> tuple[Mount, ...]:
    rows = (config or {}).get("mounts")
    if not isinstance(rows, list):
        return ()
    return tuple(
        Mount(volume_id=VolumeId(str(row["volume"])), path=str(row.get("path") or ""))
        for row in rows
        if isinstance(row, dict) and row.get("volume")
    )

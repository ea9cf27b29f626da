"""Fly's JSON for apps, machines and volumes."""

from __future__ import annotations

from datetime import datetime

from flykeep.testing.flysim.model import GIB, App, JsonObject, Machine, MachineEvent, Volume
from flykeep.testing.flysim.world import World

_BLOCK_BYTES = 4096


def instant(at: datetime) -> str:
    """An instant as Go writes it."""
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def app_json(world: World, app: App) -> JsonObject:
    """The App document."""
    machines = [machine for machine in world.machines_of(app.name) if machine.state != "destroyed"]
    return {
        "id": app.name,
        "internal_numeric_id": app.number,
        "name": app.name,
        "network": app.network,
        "status": app.status,
        "machine_count": len(machines),
        "volume_count": len(world.volumes_of(app.name)),
        "organization": {"name": app.org, "slug": app.org, "internal_numeric_id": 7},
    }


def volume_json(world: World, volume: Volume, *, is_summary: bool = False) -> JsonObject:
    """The Volume document; a summary has no usage numbers, and a silent host reports none."""
    total = volume.size_gb * GIB
    used = 0 if is_summary or volume.host_status != "ok" else world.used_bytes(volume)
    document: JsonObject = {
        "id": volume.id,
        "name": volume.name,
        "state": volume.state,
        "size_gb": volume.size_gb,
        "region": volume.region,
        "zone": volume.zone,
        "encrypted": volume.is_encrypted,
        "attached_machine_id": volume.attached_machine_id,
        "attached_alloc_id": None,
        "created_at": instant(volume.created_at),
        "fstype": volume.fstype,
        "snapshot_retention": volume.snapshot_retention,
        "auto_backup_enabled": volume.is_auto_backup_enabled,
        "host_status": volume.host_status,
        "type": "local",
    }
    if is_summary:
        return document
    is_reporting = volume.host_status == "ok"
    return document | {
        "blocks": total // _BLOCK_BYTES if is_reporting else 0,
        "block_size": _BLOCK_BYTES,
        "blocks_free": (total - used) // _BLOCK_BYTES if is_reporting else 0,
        "blocks_avail": (total - used) // _BLOCK_BYTES if is_reporting else 0,
        "bytes_used": used,
        "bytes_total": total if is_reporting else 0,
    }


def image_ref(machine: Machine) -> JsonObject:
    """Where its image comes from."""
    registry, _, rest = str(machine.config.get("image", "")).partition("/")
    name, _, digest = rest.partition("@")
    repository, _, tag = name.partition(":")
    digest = digest or f"sha256:{'5' * 64}"
    return {"registry": registry, "repository": repository, "tag": tag, "digest": digest, "labels": None}


def event_json(event: MachineEvent) -> JsonObject:
    """One entry of the history; times are milliseconds since 1970."""
    document: JsonObject = {
        "id": event.id,
        "type": event.type,
        "status": event.status,
        "source": event.source,
        "timestamp": int(event.at.timestamp() * 1000),
    }
    return document | ({"request": event.request} if event.request else {})


def machine_json(machine: Machine, *, is_summary: bool = False) -> JsonObject:
    """The Machine document; on a sick host only `incomplete_config` is left of its configuration."""
    document: JsonObject = {
        "id": machine.id,
        "name": machine.name,
        "state": machine.state,
        "region": machine.region,
        "instance_id": machine.version,
        "version": machine.version,
        "private_ip": machine.private_ip,
        "image_ref": image_ref(machine),
        "created_at": instant(machine.created_at),
        "updated_at": instant(machine.updated_at),
        "cordoned": machine.is_cordoned,
    }
    if is_summary:
        return document
    document |= {
        "host_status": machine.host_status,
        "checks": _checks_json(machine),
        "events": [event_json(event) for event in machine.events[:20]],
    }
    if machine.host_status == "ok":
        return document | {"config": machine.config}
    known = {key: machine.config[key] for key in ("image", "guest", "metadata") if key in machine.config}
    return document | {"incomplete_config": known}


def _checks_json(machine: Machine) -> list[JsonObject]:
    """Its configured checks pass once it has run a little, but for those a test made fail."""
    names = machine.config.get("checks") or {}
    is_up = machine.state == "started" and machine.check_polls == 0
    failing = machine.failing_checks if is_up else set(names)
    return [
        {
            "name": name,
            "status": "critical" if name in failing else "passing",
            "output": "connect: connection refused" if name in failing else "200 OK",
            "updated_at": instant(machine.updated_at),
        }
        for name in names
    ]


def org_machine_json(machine: Machine, *, is_summary: bool) -> JsonObject:
    """A row of the organization's inventory: little configuration, no host status."""
    document: JsonObject = {
        "id": machine.id,
        "app_name": machine.app,
        "name": machine.name,
        "state": machine.state,
        "region": machine.region,
        "instance_id": machine.version,
        "version": machine.version,
        "private_ip": machine.private_ip,
        "created_at": instant(machine.created_at),
        "updated_at": instant(machine.updated_at),
    }
    if is_summary:
        return document
    config = machine.config
    return document | {"config": {key: config[key] for key in ("guest", "image", "metadata") if key in config}}

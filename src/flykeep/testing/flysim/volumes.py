"""What Fly does with volumes and snapshots."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.model import GIB, HIDDEN_VOLUME_STATES, JsonObject, Refusal, Snapshot, TokenGrant, Volume
from flykeep.testing.flysim.world import World

_MAX_SIZE_GB = 500
_PENDING = {"waiting", "running"}


def create(world: World, app: str, body: JsonObject, fault: Fault | None, grant: TokenGrant) -> Volume:
    """A new volume: empty, from a snapshot, or forked from another volume."""
    if fault is not None and fault.kind is FaultKind.CAPACITY:
        raise Refusal(422, "insufficient resources to create volume", code="volume_placement_capacity")
    name = body["name"]
    if len(name) > 30 or not all(c.isascii() and (c.islower() or c.isdigit() or c == "_") for c in name):
        raise Refusal(422, "name must be at most 30 lower-case letters, digits and underscores")
    size_gb = body.get("size_gb", 3)
    if not 1 <= size_gb <= _MAX_SIZE_GB:
        raise Refusal(400, f"volume size must be between 1 and {_MAX_SIZE_GB} GB")
    snapshot = find_snapshot(world, body["snapshot_id"], grant) if body.get("snapshot_id") else None
    if snapshot is not None:
        _refuse_small(snapshot, size_gb)
    source = world.volumes.get(body["source_volume_id"]) if body.get("source_volume_id") else None
    if body.get("source_volume_id") and source is None:
        raise Refusal(404, "source volume not found")
    volume = _blank(world, app, body, source.size_gb if source else size_gb)
    volume.directory.mkdir()
    if snapshot is not None:
        volume.state, volume.busy_polls = "restoring", world.scenario.restore_polls
        world.copy_tree(world.snapshot_directory(snapshot.id), volume.directory)
    elif source is not None:
        volume.state, volume.busy_polls = "hydrating", world.scenario.restore_polls
        world.copy_tree(source.directory, volume.directory)
    world.volumes[volume.id] = volume
    return volume


def _blank(world: World, app: str, body: JsonObject, size_gb: int) -> Volume:
    volume_id = world.new_id("vol_", 20)
    return Volume(
        id=volume_id,
        app=app,
        name=body["name"],
        region=body.get("region", world.scenario.region),
        size_gb=size_gb,
        created_at=world.now(),
        updated_at=world.now(),
        directory=world.directory / "volumes" / volume_id,
        is_encrypted=body.get("encrypted", True),
        is_auto_backup_enabled=body.get("auto_backup_enabled", True),
        snapshot_retention=body.get("snapshot_retention", 5),
    )


def _refuse_small(snapshot: Snapshot, size_gb: int) -> None:
    needed_gb = math.ceil(snapshot.volume_size_bytes / GIB)
    if size_gb < needed_gb:
        raise Refusal(422, f"volume size ({size_gb} GiB) is smaller than the snapshot size ({needed_gb} GiB)")


def find_snapshot(world: World, snapshot_id: str, grant: TokenGrant) -> Snapshot:
    """A restorable snapshot of an app the token may see, of a destroyed volume too."""
    for volume in world.volumes.values():
        for snapshot in volume.snapshots:
            if snapshot.id == snapshot_id:
                world.app(volume.app, grant)
                if status(world, snapshot) != "created":
                    raise Refusal(422, "snapshot is not ready to be restored")
                return snapshot
    raise Refusal(404, "snapshot not found")


def look(volume: Volume) -> None:
    """One poll of a volume: what takes several polls comes one nearer to its end."""
    if volume.state in {"creating", "restoring", "hydrating"}:
        if volume.busy_polls <= 0:
            volume.state = "created"
        volume.busy_polls -= 1


def detach(world: World, volume: Volume) -> None:
    """One poll of a volume whose machine is destroyed: the first still shows it attached, the next does not."""
    if not _is_left(world, volume):
        return
    if volume.is_detach_lagging:
        volume.attached_machine_id, volume.updated_at = None, world.now()
    volume.is_detach_lagging = not volume.is_detach_lagging


def _is_left(world: World, volume: Volume) -> bool:
    holder = volume.attached_machine_id
    machine = world.machines.get(holder or "")
    return holder is not None and (machine is None or machine.state == "destroyed")


def update(world: World, volume: Volume, body: JsonObject) -> None:
    """Retention and automatic snapshots."""
    retention = body.get("snapshot_retention")
    if retention is not None:
        if not 1 <= retention <= 60:
            raise Refusal(400, "snapshot retention must be between 1 and 60 days")
        volume.snapshot_retention = retention
    volume.is_auto_backup_enabled = body.get("auto_backup_enabled", volume.is_auto_backup_enabled)
    volume.updated_at = world.now()


def extend(world: World, volume: Volume, size_gb: int) -> None:
    """Grow a volume; it never shrinks."""
    if size_gb <= volume.size_gb or size_gb > _MAX_SIZE_GB:
        raise Refusal(400, f"volume size must be above {volume.size_gb} and at most {_MAX_SIZE_GB} GB")
    volume.size_gb, volume.updated_at = size_gb, world.now()


def delete(world: World, volume: Volume) -> None:
    """Soft-delete; refused while attached, and once more just after its machine is gone."""
    holder = volume.attached_machine_id
    if holder is not None:
        if _is_left(world, volume):
            volume.attached_machine_id, volume.is_detach_lagging = None, False
        raise Refusal(412, f"failed_precondition: volume is currently bound to machine: {holder}")
    volume.state, volume.updated_at = "pending_destroy", world.now()


def take_snapshot(world: World, volume: Volume, fault: Fault | None) -> Snapshot:
    """Start a snapshot: the copy is made now, its row becomes usable later."""
    if volume.host_status != "ok" or (fault and fault.kind is FaultKind.HOST_UNREACHABLE):
        raise Refusal(503, "unavailable: host is unreachable")
    if volume.state in HIDDEN_VOLUME_STATES:
        raise Refusal(400, "volume is being destroyed")
    is_busy = any(status(world, snapshot) in _PENDING and not snapshot.is_stuck for snapshot in volume.snapshots)
    if is_busy or (fault and fault.kind is FaultKind.SNAPSHOT_CONFLICT):
        raise Refusal(409, "aborted: a snapshot of this volume is already in progress")
    snapshot = Snapshot(
        id=world.new_id("vs_", 20),
        volume_id=volume.id,
        requested_at=world.now(),
        size_bytes=world.used_bytes(volume),
        volume_size_bytes=volume.size_gb * GIB,
        retention_days=volume.snapshot_retention,
        digest=world.new_id("", 32) + "-1",
        is_stuck=fault is not None and fault.kind is FaultKind.SNAPSHOT_STUCK,
    )
    if fault is not None and fault.kind is FaultKind.SNAPSHOT_STATUS:
        snapshot.final_status = fault.text or "failed"
    world.copy_tree(volume.directory, world.snapshot_directory(snapshot.id))
    volume.snapshots.append(snapshot)
    return snapshot


def status(world: World, snapshot: Snapshot) -> str:
    """The status of a snapshot by the polls and the time it has seen."""
    if snapshot.settled_status is not None:
        return snapshot.settled_status
    if snapshot.is_stuck:
        return "running" if snapshot.polls > 1 else "waiting"
    share = _share_done(world, snapshot)
    if share < 1:
        return "running" if share >= 0.5 else "waiting"
    snapshot.settled_status = snapshot.final_status
    return snapshot.final_status


def _share_done(world: World, snapshot: Snapshot) -> float:
    progress = world.scenario.snapshot_progress
    elapsed_s = (world.now() - snapshot.requested_at) / timedelta(seconds=1)
    shares = []
    if progress.polls is not None:
        shares.append(snapshot.polls / progress.polls if progress.polls else 1.0)
    if progress.seconds is not None:
        shares.append(elapsed_s / progress.seconds if progress.seconds else 1.0)
    if not shares:
        return 1.0
    return max(shares) if progress.need == "either" else min(shares)


def list_snapshots(world: World, volume: Volume) -> list[JsonObject]:
    """The rows Fly answers; each call is one poll."""
    now = world.now()
    rows: list[JsonObject] = []
    for snapshot in volume.snapshots:
        current = status(world, snapshot)
        snapshot.polls += 1
        if now - snapshot.requested_at <= timedelta(days=snapshot.retention_days):
            rows.append(_row(snapshot, current))
    return rows


def _row(snapshot: Snapshot, current: str) -> JsonObject:
    if current == "waiting":
        return {"id": "", "status": current, "size": 0}
    if current == "running":
        return {"id": snapshot.id, "created_at": "0001-01-01T00:00:00Z", "status": current, "size": 0}
    return {
        "id": snapshot.id,
        "created_at": snapshot.requested_at.isoformat(),
        "digest": snapshot.digest,
        "size": snapshot.size_bytes,
        "volume_size": snapshot.volume_size_bytes,
        "status": current,
        "retention_days": snapshot.retention_days,
    }


def backup_answer(world: World, snapshot: Snapshot, app_number: int, *, names_graph_id: bool) -> JsonObject:
    """What the POST answers; `id`, `app_id` and `volume_id` are internal numbers."""
    stamp = snapshot.requested_at.isoformat()
    backup: dict[str, Any] = {
        "id": str(int(snapshot.digest[:8], 16) + len(world.volumes)),
        "app_id": str(app_number),
        "volume_id": str(list(world.volumes).index(snapshot.volume_id) + 9000),
        "state": "prepare",
        "type": "BACKUP_TYPE_ON_DEMAND",
        "message": "",
        "created_at": stamp,
        "updated_at": stamp,
        "finished_at": None,
    }
    if names_graph_id:
        backup["graph_id"] = snapshot.id
    return {"Msg": {"backup": backup}}

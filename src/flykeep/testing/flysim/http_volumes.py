"""Volumes and snapshots."""

from __future__ import annotations

from flykeep.testing.flysim import volumes
from flykeep.testing.flysim.faults import FaultKind
from flykeep.testing.flysim.http_call import Answer, Call, Endpoint
from flykeep.testing.flysim.model import HIDDEN_VOLUME_STATES
from flykeep.testing.flysim.render import volume_json


async def list_volumes(call: Call) -> Answer:
    rows = call.world.volumes_of(call.app.name)
    for volume in rows:
        volumes.look(volume)
        volumes.detach(call.world, volume)
    return Answer(200, [volume_json(call.world, volume, is_summary=call.flag("summary")) for volume in rows])


async def create_volume(call: Call) -> Answer:
    volume = volumes.create(call.world, call.app.name, call.body, call.fault, call.grant)
    return Answer(200, volume_json(call.world, volume))


async def get_volume(call: Call) -> Answer:
    volume = call.volume
    volumes.look(volume)
    volumes.detach(call.world, volume)
    return Answer(200, volume_json(call.world, volume))


async def update_volume(call: Call) -> Answer:
    volume = call.volume
    volumes.update(call.world, volume, call.body or {})
    return Answer(200, volume_json(call.world, volume))


async def delete_volume(call: Call) -> Answer:
    volume = call.volume
    volumes.delete(call.world, volume)
    return Answer(200, volume_json(call.world, volume))


async def extend_volume(call: Call) -> Answer:
    volume = call.volume
    volumes.extend(call.world, volume, call.body["size_gb"])
    needs_restart = call.world.scenario.extend_needs_restart
    return Answer(200, {"volume": volume_json(call.world, volume), "needs_restart": needs_restart})


async def list_snapshots(call: Call) -> Answer:
    return Answer(200, volumes.list_snapshots(call.world, call.volume))


async def create_snapshot(call: Call) -> Answer:
    snapshot = volumes.take_snapshot(call.world, call.volume, call.fault)
    is_named = call.world.scenario.names_graph_id and not (
        call.fault is not None and call.fault.kind is FaultKind.NO_GRAPH_ID
    )
    return Answer(200, volumes.backup_answer(call.world, snapshot, call.app.number, names_graph_id=is_named))


def migrate_all(call: Call) -> None:
    """Move the app's live volumes to other hosts."""
    for volume in call.world.volumes_of(call.app.name):
        if volume.state not in HIDDEN_VOLUME_STATES:
            call.world.migrate(volume)


ENDPOINTS = (
    Endpoint("GET", "/apps/{app_name}/volumes", "volume.list", list_volumes),
    Endpoint("POST", "/apps/{app_name}/volumes", "volume.create", create_volume),
    Endpoint("GET", "/apps/{app_name}/volumes/{volume_id}", "volume.get", get_volume),
    Endpoint("PUT", "/apps/{app_name}/volumes/{volume_id}", "volume.update", update_volume),
    Endpoint("DELETE", "/apps/{app_name}/volumes/{volume_id}", "volume.delete", delete_volume),
    Endpoint("PUT", "/apps/{app_name}/volumes/{volume_id}/extend", "volume.extend", extend_volume),
    Endpoint("GET", "/apps/{app_name}/volumes/{volume_id}/snapshots", "snapshot.list", list_snapshots),
    Endpoint("POST", "/apps/{app_name}/volumes/{volume_id}/snapshots", "snapshot.create", create_snapshot),
)

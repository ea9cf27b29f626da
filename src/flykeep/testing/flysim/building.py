"""Builds what a simulated Fly holds at its start, from a scenario."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from flykeep.testing.flysim.addresses import assign
from flykeep.testing.flysim.content import plant
from flykeep.testing.flysim.model import HIDDEN_VOLUME_STATES, App, JsonObject, Machine, Secret, Volume
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, VolumeSpec

if TYPE_CHECKING:
    from flykeep.testing.flysim.world import World


def build_app(world: World, spec: AppSpec) -> None:
    """An app with everything its specification names."""
    app = App(
        name=spec.name,
        org=spec.org or world.scenario.org,
        number=1000 + len(world.apps),
        network=spec.network,
        created_at=world.now() - timedelta(days=400),
    )
    world.apps[app.name] = app
    for name, value in spec.secrets.items():
        app.secrets[name] = Secret(name, world.new_id("", 16), app.created_at, value)
    assign(app, *spec.addresses, now=app.created_at)
    app.certificates |= dict.fromkeys(spec.certificates, app.created_at)
    volumes: dict[str, Volume] = {}
    for volume_spec in spec.volumes:
        volume = _build_volume(world, spec, volume_spec)
        if volume.state not in HIDDEN_VOLUME_STATES:
            volumes[volume.name] = volume
    for machine_spec in spec.machines:
        _build_machine(world, spec, machine_spec, volumes)


def _build_volume(world: World, app: AppSpec, spec: VolumeSpec) -> Volume:
    volume_id = world.new_id("vol_", 20)
    created_at = world.now() - timedelta(days=spec.age_days)
    volume = Volume(
        id=volume_id,
        app=app.name,
        name=spec.name,
        region=spec.region or world.scenario.region,
        size_gb=spec.size_gb,
        created_at=created_at,
        updated_at=created_at,
        directory=world.directory / "volumes" / volume_id,
        state=spec.state,
        host_status=spec.host_status,
        is_auto_backup_enabled=spec.auto_backup_enabled,
        snapshot_retention=spec.snapshot_retention,
    )
    volume.directory.mkdir()
    connection = plant(spec.seed, volume.directory, now=world.now())
    if connection is not None:
        world.keep_open(connection)
    world.volumes[volume.id] = volume
    if not spec.protected:
        world.unprotected.add((app.name, spec.name))
    for snapshot in spec.snapshots:
        world.add_snapshot(
            volume,
            age=timedelta(hours=snapshot.age_hours),
            status=snapshot.status,
            size_bytes=snapshot.size_bytes,
            same_as=volume.snapshots[0] if volume.snapshots else None,
        )
    return volume


def _build_machine(world: World, app: AppSpec, spec: MachineSpec, volumes: dict[str, Volume]) -> None:
    machine_id = world.new_id("", 14)
    config: JsonObject = {
        "image": spec.image,
        "env": dict(spec.env),
        "guest": {"cpu_kind": "shared", "cpus": spec.cpus, "memory_mb": spec.memory_mb},
        "metadata": dict(spec.metadata),
        "restart": {"policy": "on-failure", "max_retries": 10},
        "stop_config": {"timeout": 10_000_000_000, "signal": "SIGINT"},
    }
    config |= {key: value for key, value in _extras(spec).items() if value}
    if spec.volume is not None:
        volume = volumes[spec.volume]
        volume.attached_machine_id = machine_id
        path = spec.mount if world.sees_mounts else str(volume.directory)
        config["mounts"] = [
            {"volume": volume.id, "path": path, "name": volume.name, "size_gb": volume.size_gb, "encrypted": True}
        ]
    machine = Machine(
        id=machine_id,
        app=app.name,
        name=spec.name,
        region=world.scenario.region,
        config=config,
        private_ip=world.new_address(),
        created_at=world.now() - timedelta(days=30),
        updated_at=world.now() - timedelta(days=1),
        version=world.new_id("01", 26).upper(),
        state=spec.state,
        host_status=spec.host_status,
    )
    machine.versions.append((machine.version, config))
    world.machines[machine.id] = machine
    world.record_event(machine, "launch", "created")
    if spec.state == "started":
        world.record_event(machine, "start", "started")


def _extras(spec: MachineSpec) -> JsonObject:
    return {"checks": dict(spec.checks), "services": list(spec.services), "standbys": list(spec.standbys)}

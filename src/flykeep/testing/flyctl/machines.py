"""`fly machine run`: the configuration it makes, and how it sees a machine through its start."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from flykeep.testing.flyctl.api import RefusedError
from flykeep.testing.flyctl.arguments import Invocation, UsageError
from flykeep.testing.flyctl.durations import write_texts
from flykeep.testing.flyctl.session import Session

_RESTARTS = {"no": "no", "on-fail": "on-failure", "always": "always"}
_SMALLEST = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}
_MB_PER_CPU = {"shared": 256, "performance": 2048}
_TRIES = 60
_PAUSE = timedelta(seconds=1)


async def run(session: Session, call: Invocation, app: str) -> None:
    """Create a machine, wait until it has started and, unless detached, until its checks pass."""
    image, *words = call.arguments
    config = configuration(call, session.directory)
    config["image"] = image
    if words:
        config["init"] = (config.get("init") or {}) | {"cmd": words}
    config["mounts"] = _mounted(call, config.get("mounts") or [])
    wanted: dict[str, Any] = {"config": {name: value for name, value in config.items() if value not in (None, [])}}
    wanted |= {name: call.text(name) for name in ("name", "region") if call.text(name)}
    if least := session.least_secrets.get(app):
        wanted["min_secrets_version"] = least
    await session.api.ask("GET", f"/apps/{app}")
    machine = await session.api.ask("POST", f"/apps/{app}/machines", body=wanted)
    session.streams.say(f"Success! A Machine has been successfully launched in app {app}")
    session.streams.say(f" Machine ID: {machine['id']}")
    session.streams.say(f" Instance ID: {machine['instance_id']}\n State: {machine['state']}")
    await _started(session, f"/apps/{app}/machines/{machine['id']}", machine["instance_id"])
    if not call.is_on("detach"):
        await _passing(session, f"/apps/{app}/machines/{machine['id']}")
    session.streams.say(f"Machine started, you can connect via the following private ip\n  {machine['private_ip']}")


def configuration(call: Invocation, directory: Path) -> dict[str, Any]:
    """The configuration that the flags and `--machine-config` ask for, without image and volume."""
    config = _read(call.text("machine-config"), directory)
    config.setdefault("init", {})
    write_texts(config)
    config["dns"] = (config.get("dns") or {}) | (
        {"skip_registration": True} if call.is_on("skip-dns-registration") else {}
    )
    config["guest"] = guest(call, config.get("guest"))
    wanted = call.text("restart")
    if wanted and wanted not in _RESTARTS:
        raise UsageError("invalid restart provided")
    if wanted:
        config["restart"] = {"policy": _RESTARTS[wanted]}
    elif config.get("auto_destroy"):
        config["restart"] = {"policy": "no"}
    elif config.get("schedule"):
        config["restart"] = {"policy": "on-failure"}
    return config


def guest(call: Invocation, saved: dict[str, Any] | None) -> dict[str, Any]:
    """The size that the flags ask for: the saved one, changed; the smallest where nothing is said."""
    made = dict(saved or _SMALLEST)
    if preset := call.text("vm-size"):
        kind, _, count = preset.partition("-cpu-") if "-cpu-" in preset else preset.partition("-")
        if kind not in _MB_PER_CPU or not count.removesuffix("x").isdigit():
            raise UsageError(f"{preset} is no VM size")
        cpus = int(count.removesuffix("x"))
        made = {"cpu_kind": kind, "cpus": cpus, "memory_mb": cpus * _MB_PER_CPU[kind]}
    if kind := call.text("vm-cpu-kind"):
        made["cpu_kind"] = kind
    if cpus := call.whole("vm-cpus"):
        made["cpus"] = cpus
    if call.text("vm-memory"):
        made["memory_mb"] = call.whole("vm-memory")
    return made


def _read(source: str, directory: Path) -> dict[str, Any]:
    if not source:
        return {}
    if not source.startswith("{") and not source.endswith(".json"):
        raise UsageError(f"invalid machine config source: {source!r}")
    try:
        text = source if source.startswith("{") else (directory / source).read_text(encoding="utf-8")
        config = json.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"invalid machine config {source!r}: {error}") from error
    if not isinstance(config, dict):
        raise UsageError(f"invalid machine config {source!r}")
    return config


def _mounted(call: Invocation, mounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mounts with the volume of `--volume` at its path."""
    if not call.text("volume"):
        return mounts
    volume, _, path = call.text("volume").partition(":")
    if not volume.startswith("vol_") or not path:  # flyctl takes a name too, and then any volume of that name
        raise UsageError(f"not simulated, or no volume and path: '{call.text('volume')}'")
    named = [{**mount, "volume": volume} if mount["path"] == path else mount for mount in mounts]
    return named if any(mount["path"] == path for mount in mounts) else [*named, {"volume": volume, "path": path}]


async def _started(session: Session, path: str, version: str) -> None:
    for _ in range(_TRIES):
        try:
            query = {"state": "started", "timeout": "60", "version": version}
            await session.api.ask("GET", f"{path}/wait", query=query)
        except RefusedError as refusal:
            if refusal.status == 400:
                raise
            await session.clock.sleep(_PAUSE)
        else:
            return
    raise RefusedError(408, "timeout reached waiting for machine to start")


async def _passing(session: Session, path: str) -> None:
    """Wait for the machine's checks; one without checks is done at once."""
    for _ in range(_TRIES):
        checks = (await session.api.ask("GET", path)).get("checks") or []
        if all(check["status"] == "passing" for check in checks):
            return
        await session.clock.sleep(_PAUSE)
    raise RefusedError(408, "timeout reached waiting for health checks to pass")

"""What each command of flyctl asks of Fly, and prints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from flykeep.testing.flyctl import console, machines
from flykeep.testing.flyctl.api import RefusedError
from flykeep.testing.flyctl.arguments import Invocation, UsageError
from flykeep.testing.flyctl.secrets_file import parsed_secrets
from flykeep.testing.flyctl.session import Session

_HIDDEN = frozenset({"scheduling_destroy", "fork_cleanup", "waiting_for_detach", "pending_destroy", "destroying"})
_TRIES = 30
_PAUSE = timedelta(seconds=1)


async def perform(session: Session, call: Invocation) -> int:
    """Do what the command line says; the exit status. Raises `RefusedError` and `UsageError`."""
    handler = _HANDLERS[call.command.words]
    answer = await handler(session, call)
    return answer or 0


async def _version(session: Session, _call: Invocation) -> None:
    session.streams.say("fly v0.3.999 (simulated)")


async def _whoami(session: Session, _call: Invocation) -> None:
    session.streams.say(await session.api.viewer())


async def _apps_list(session: Session, call: Invocation) -> None:
    rows = (await session.api.ask("GET", "/apps", query={"org_slug": _org(call)}))["apps"]
    _table(session, call, rows, ("name", "status"))


async def _apps_create(session: Session, call: Invocation) -> None:
    name = call.arguments[0]
    wanted = {"name": name, "org_slug": _org(call)}
    if call.text("network"):
        wanted["network"] = call.text("network")
    await session.api.ask("POST", "/apps", body=wanted)
    for _ in range(_TRIES):  # a new app may not be seen at once
        try:
            await session.api.ask("GET", f"/apps/{name}")
        except RefusedError as refusal:
            if refusal.status not in {401, 404}:
                raise
            await session.clock.sleep(_PAUSE)
        else:
            break
    session.streams.say(f"New app created: {name}")


async def _status(session: Session, call: Invocation) -> None:
    app = await session.api.ask("GET", f"/apps/{_app(call)}")
    session.streams.say(f"App {app['name']} {app['status']}")
    await _machine_list(session, call)


async def _checks(session: Session, call: Invocation) -> None:
    rows = await session.api.ask("GET", f"/apps/{_app(call)}/machines")
    checks = [{"machine": row["name"], **check} for row in rows for check in row.get("checks") or []]
    _table(session, call, checks, ("machine", "name", "status", "output"))


async def _secrets_import(session: Session, call: Invocation) -> None:
    if not call.is_on("stage"):
        raise UsageError("without --stage, flyctl deploys: that is not simulated")
    app = _app(call)
    values = parsed_secrets(await asyncio.to_thread(session.streams.read))
    if not values:
        raise UsageError("requires at least one SECRET=VALUE pair")
    answer = await session.api.ask("POST", f"/apps/{app}/secrets", body={"values": values})
    session.least_secrets[app] = answer["version"]
    session.streams.say("Secrets have been staged, but not set on VMs.")


async def _ips_list(session: Session, call: Invocation) -> None:
    rows = (await session.api.ask("GET", f"/apps/{_app(call)}/ip_assignments"))["ips"]
    _table(session, call, rows, ("ip", "region"))


async def _allocate_v4(session: Session, call: Invocation) -> None:
    if not call.is_on("shared") and not call.is_on("yes"):
        raise UsageError("yes flag must be specified when not running interactively")
    if call.is_on("shared"):
        await _assign(session, call, {"type": "shared_v4"})
    else:
        await _assign(session, call, {"type": "v4", "region": call.text("region")})


async def _allocate_v6(session: Session, call: Invocation) -> None:
    if call.is_on("private"):
        target = {"org_slug": call.text("org"), "network": call.text("network")}
        await _assign(session, call, {"type": "private_v6", **target})
    else:
        await _assign(session, call, {"type": "v6", "region": call.text("region")})


async def _assign(session: Session, call: Invocation, wanted: Mapping[str, str]) -> None:
    body = {name: value for name, value in wanted.items() if value}
    answer = await session.api.ask("POST", f"/apps/{_app(call)}/ip_assignments", body=body)
    session.streams.say(f"IP {answer.get('ip')} allocated")


async def _certs_add(session: Session, call: Invocation) -> None:
    (hostname,) = call.arguments
    await session.api.ask("POST", f"/apps/{_app(call)}/certificates/acme", body={"hostname": hostname})
    session.streams.say(f"Your certificate for {hostname} is being issued.")


async def _volumes_create(session: Session, call: Invocation) -> None:
    app = _app(call)
    if not call.text("region"):
        raise UsageError("region code must be specified when not running interactively")
    if not call.is_on("yes"):
        raise UsageError("yes flag must be specified when not running interactively")
    wanted: dict[str, Any] = {
        "name": call.arguments[0],
        "region": call.text("region"),
        "size_gb": call.whole("size"),
        "encrypted": not call.is_on("no-encryption"),
        "require_unique_zone": call.is_on("require-unique-zone"),
        "snapshot_retention": call.whole("snapshot-retention"),
        "auto_backup_enabled": call.is_on("scheduled-snapshots"),
        "compute": machines.guest(call, None),
    }
    if call.text("snapshot-id"):
        wanted["snapshot_id"] = call.text("snapshot-id")
    await session.api.ask("GET", f"/apps/{app}")
    volume = await session.api.ask("POST", f"/apps/{app}/volumes", body=wanted)
    shown = [f"{name:>20}: {volume.get(name)}" for name in ("id", "name", "region", "size_gb", "state")]
    session.streams.say(json.dumps(volume, indent=4) if call.is_on("json") else "\n".join(shown))


async def _volumes_list(session: Session, call: Invocation) -> None:
    rows = [row for row in await session.api.ask("GET", f"/apps/{_app(call)}/volumes") if row["state"] not in _HIDDEN]
    _table(session, call, rows, ("id", "state", "name", "size_gb", "region", "attached_machine_id"))


async def _snapshots_list(session: Session, call: Invocation) -> None:
    (volume_id,) = call.arguments
    rows = await session.api.ask("GET", f"/apps/{_app(call)}/volumes/{volume_id}/snapshots")
    _table(session, call, rows, ("id", "status", "size", "created_at", "retention_days"))


async def _machine_run(session: Session, call: Invocation) -> None:
    await machines.run(session, call, _app(call))


async def _machine_list(session: Session, call: Invocation) -> None:
    rows = [row for row in await session.api.ask("GET", f"/apps/{_app(call)}/machines") if row["state"] != "destroyed"]
    _table(session, call, rows, ("id", "name", "state", "region"))


async def _machine_destroy(session: Session, call: Invocation) -> None:
    for machine_id in call.arguments:
        path = f"/apps/{_app(call)}/machines/{machine_id}"
        await session.api.ask("GET", path)
        query = {"kill": "true"} if call.is_on("force") else None
        await session.api.ask("DELETE", path, query=query)
        session.streams.say(f"{machine_id} has been destroyed")


async def _console(session: Session, call: Invocation) -> int:
    return await console.run(session, call, _app(call))


def _app(call: Invocation) -> str:
    if not call.text("app"):
        raise UsageError("the config for your app is missing an app name, add an app field or specify with -a")
    return call.text("app")


def _org(call: Invocation) -> str:
    if not call.text("org"):
        raise UsageError("org slug must be specified when not running interactively")
    return call.text("org")


def _table(session: Session, call: Invocation, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    if call.switches.get("json"):
        session.streams.say(json.dumps(list(rows), indent=4))
        return
    if not call.switches.get("quiet"):
        session.streams.say("\t".join(column.upper() for column in columns))
    for row in rows:
        shown = columns[:1] if call.switches.get("quiet") else columns
        session.streams.say("\t".join(str(row.get(column) or "") for column in shown))


_Handler = Callable[[Session, Invocation], Awaitable[int | None]]
_HANDLERS: Mapping[tuple[str, ...], _Handler] = {
    ("version",): _version,
    ("auth", "whoami"): _whoami,
    ("apps", "list"): _apps_list,
    ("apps", "create"): _apps_create,
    ("status",): _status,
    ("checks", "list"): _checks,
    ("secrets", "import"): _secrets_import,
    ("ips", "list"): _ips_list,
    ("ips", "allocate-v4"): _allocate_v4,
    ("ips", "allocate-v6"): _allocate_v6,
    ("certs", "add"): _certs_add,
    ("volumes", "create"): _volumes_create,
    ("volumes", "list"): _volumes_list,
    ("volumes", "snapshots", "list"): _snapshots_list,
    ("machine", "run"): _machine_run,
    ("machine", "list"): _machine_list,
    ("machine", "destroy"): _machine_destroy,
    ("ssh", "console"): _console,
}

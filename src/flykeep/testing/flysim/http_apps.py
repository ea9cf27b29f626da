"""Apps, secrets, organizations' inventories, tokens, regions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flykeep.testing.flysim.faults import FaultKind
from flykeep.testing.flysim.http_call import Answer, Call, Endpoint
from flykeep.testing.flysim.model import App, JsonObject, Machine, Refusal, Secret, Volume
from flykeep.testing.flysim.render import app_json, instant, org_machine_json, volume_json
from flykeep.testing.flysim.tokens import find_grant

_PAGE_LIMIT = 1000


async def list_apps(call: Call) -> Answer:
    _own_org(call, call.query["org_slug"])
    apps = [a for a in call.world.apps.values() if a.org == call.grant.org and _is_granted(call, a.name)]
    return Answer(200, {"total_apps": len(apps), "apps": [app_json(call.world, app) for app in apps]})


async def create_app(call: Call) -> Answer:
    name = call.body["name"]
    _own_org(call, call.body["org_slug"])
    if call.grant.apps:
        raise Refusal(403, "unauthorized")
    if name in call.world.apps:
        raise Refusal(422, "Name has already been taken", code="name_taken")
    app = App(
        name=name,
        org=call.grant.org,
        number=1000 + len(call.world.apps),
        network=call.body.get("network") or "default",
        created_at=call.world.now(),
        status="pending",
        hidden_gets=call.world.scenario.new_app_hidden_gets,
    )
    call.world.apps[name] = app
    return Answer(201, app_json(call.world, app))


async def get_app(call: Call) -> Answer:
    app = call.app
    if app.hidden_gets > 0:  # just made: for a moment it is not everywhere yet
        app.hidden_gets -= 1
        raise Refusal(404, "app not found")
    return Answer(200, app_json(call.world, app))


async def delete_app(call: Call) -> Answer:
    call.world.remove_app(call.app.name)
    return Answer(202)


async def deploy_token(call: Call) -> Answer:
    grant = call.world.add_grant(apps=frozenset({call.app.name}))
    return Answer(200, {"token": "FlyV1 " + ",".join(grant.macaroons)})


# -- secrets: names and digests; values are never answered


async def list_secrets(call: Call) -> Answer:
    return Answer(200, {"secrets": [_secret_json(secret) for secret in call.app.secrets.values()]})


async def set_secrets(call: Call) -> Answer:
    app = call.app
    for name, value in call.body["values"].items():
        _put_secret(call, app, name, value)
    app.secrets_version += 1
    rows = [_secret_json(secret) for secret in app.secrets.values()]
    return Answer(200, {"secrets": rows, "version": app.secrets_version})


async def get_secret(call: Call) -> Answer:
    return Answer(200, _secret_json(_secret(call)))


async def put_secret(call: Call) -> Answer:
    app = call.app
    _put_secret(call, app, call.path["secret_name"], call.body["value"])
    app.secrets_version += 1
    return Answer(201, _secret_json(_secret(call)) | {"version": app.secrets_version})


async def delete_secret(call: Call) -> Answer:
    _secret(call)
    app = call.app
    del app.secrets[call.path["secret_name"]]
    app.secrets_version += 1
    return Answer(200, {"version": app.secrets_version})


def _secret(call: Call) -> Secret:
    secret = call.app.secrets.get(call.path["secret_name"])
    if secret is None:
        raise Refusal(404, "secret not found")
    return secret


def _put_secret(call: Call, app: App, name: str, value: str | None) -> None:
    if value is None:
        app.secrets.pop(name, None)
    else:
        app.secrets[name] = Secret(name, call.world.new_id("", 16), call.world.now(), value)


def _secret_json(secret: Secret) -> JsonObject:
    stamp = instant(secret.created_at)
    return {"name": secret.name, "digest": secret.digest, "created_at": stamp, "updated_at": stamp}


# -- inventories


async def org_machines(call: Call) -> Answer:
    _own_org(call, call.path["org_slug"])
    world = call.world
    rows = [m for m in world.machines.values() if world.apps[m.app].org == call.grant.org and _is_granted(call, m.app)]
    if not call.flag("include_deleted"):
        rows = [m for m in rows if m.state != "destroyed"]
    page, cursor = _page(call, rows)
    document: JsonObject = {
        "machines": [org_machine_json(machine, is_summary=call.flag("summary")) for machine in page],
        "next_cursor": cursor,
        "last_machine_id": page[-1].id if page else "",
        "last_updated_at": instant(page[-1].updated_at) if page else "",
        "error_regions": _error_regions(call),
    }
    lost = set(document["error_regions"])
    document["machines"] = [row for row in document["machines"] if row["region"] not in lost]
    return Answer(200, document)


async def org_volumes(call: Call) -> Answer:
    _own_org(call, call.path["org_slug"])
    world = call.world
    rows = [v for v in world.volumes.values() if world.apps[v.app].org == call.grant.org and _is_granted(call, v.app)]
    rows = [v for v in rows if v.state != "destroyed" or call.flag("include_deleted")]
    page, cursor = _page(call, rows)
    lost = set(_error_regions(call))
    documents = [
        volume_json(world, volume, is_summary=call.flag("summary"))
        | {"app_name": volume.app, "updated_at": instant(volume.updated_at)}
        for volume in page
        if volume.region not in lost
    ]
    document: JsonObject = {
        "volumes": documents,
        "next_cursor": cursor,
        "last_volume_id": page[-1].id if page else "",
        "last_updated_at": instant(page[-1].updated_at) if page else "",
    }
    return Answer(200, document | ({"error_regions": sorted(lost)} if lost else {}))


def _page(call: Call, rows: list[Any]) -> tuple[list[Any], str]:
    """The rows a page holds and where the next one begins; empty where it was the last."""
    wanted: list[Machine | Volume] = sorted(rows, key=lambda row: (row.updated_at, row.id))
    if region := call.query.get("region"):
        wanted = [row for row in wanted if row.region == region]
    if states := call.query.get("state"):
        wanted = [row for row in wanted if row.state in states.split(",")]
    if (after := call.query.get("updated_after")) and "cursor" not in call.query:
        wanted = [row for row in wanted if row.updated_at > datetime.fromisoformat(after)]
    start = int(call.query.get("cursor") or 0)
    limit = min(int(call.query.get("limit") or _PAGE_LIMIT), _PAGE_LIMIT)
    end = start + max(1, limit)
    return wanted[start:end], str(end) if end < len(wanted) else ""


def _error_regions(call: Call) -> list[str]:
    if call.fault is not None and call.fault.kind is FaultKind.ERROR_REGIONS:
        return list(call.fault.regions)
    return []


# -- tokens and the platform


async def current_token(call: Call) -> Answer:
    token = {
        "token_id": call.grant.macaroons[0][-12:],
        "organization": call.grant.org,
        "org_slug": call.grant.org,
        "apps": sorted(call.grant.apps),
        "user": "",
        "restricted_to_machine": "",
        "source_machine_id": "",
    }
    return Answer(200, {"tokens": [token]})


async def authorize_token(call: Call) -> Answer:
    grant = find_grant(call.world, call.body.get("header", ""))
    access = call.body.get("access") or {}
    app = access.get("app_name") or access.get("app")
    is_write = bool(set(str(access.get("action", "r"))) - {"r"})
    if grant is None:
        raise Refusal(401, "Authenticate: token validation error")
    is_allowed = not (is_write and grant.is_read_only) and (not grant.apps or app in grant.apps)
    if app and app in call.world.apps and call.world.apps[app].org != grant.org:
        is_allowed = False
    if not is_allowed:
        raise Refusal(403, "unauthorized")
    return Answer(200, {})


async def regions(_call: Call) -> Answer:
    known = [{"code": code, "name": code, "gateway_available": True} for code in ("ams", "fra", "iad")]
    return Answer(200, {"regions": known, "nearest": "fra"})


def _own_org(call: Call, slug: str) -> None:
    if slug != call.grant.org:
        raise Refusal(404, "organization not found")


def _is_granted(call: Call, app: str) -> bool:
    return not call.grant.apps or app in call.grant.apps


ENDPOINTS = (
    Endpoint("GET", "/apps", "app.list", list_apps),
    Endpoint("POST", "/apps", "app.create", create_app),
    Endpoint("GET", "/apps/{app_name}", "app.get", get_app),
    Endpoint("DELETE", "/apps/{app_name}", "app.delete", delete_app),
    Endpoint("POST", "/apps/{app_name}/deploy_token", "app.deploy_token", deploy_token),
    Endpoint("GET", "/apps/{app_name}/secrets", "secret.list", list_secrets),
    Endpoint("POST", "/apps/{app_name}/secrets", "secret.set", set_secrets),
    Endpoint("GET", "/apps/{app_name}/secrets/{secret_name}", "secret.get", get_secret),
    Endpoint("POST", "/apps/{app_name}/secrets/{secret_name}", "secret.put", put_secret),
    Endpoint("DELETE", "/apps/{app_name}/secrets/{secret_name}", "secret.delete", delete_secret),
    Endpoint("GET", "/orgs/{org_slug}/machines", "org.machines", org_machines),
    Endpoint("GET", "/orgs/{org_slug}/volumes", "org.volumes", org_volumes),
    Endpoint("GET", "/tokens/current", "token.current", current_token),
    Endpoint("POST", "/tokens/authorize", "token.authorize", authorize_token),
    Endpoint("GET", "/platform/regions", "platform.regions", regions),
)

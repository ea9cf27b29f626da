"""Machines: life cycle, waiting, leases, metadata, exec."""

from __future__ import annotations

from flykeep.testing.flysim.http_call import Answer, Call, Endpoint
from flykeep.testing.flysim.model import JsonObject, Lease, Refusal
from flykeep.testing.flysim.render import event_json, machine_json

_BASE = "/apps/{app_name}/machines"
_ONE = _BASE + "/{machine_id}"


async def list_machines(call: Call) -> Answer:
    rows = call.world.machines_of(call.app.name)
    if not call.flag("include_deleted"):
        rows = [machine for machine in rows if machine.state != "destroyed"]
    if region := call.query.get("region"):
        rows = [machine for machine in rows if machine.region == region]
    if states := call.query.get("state"):
        rows = [machine for machine in rows if machine.state in states.split(",")]
    for machine in rows:
        call.machines.look(machine)
    return Answer(200, [machine_json(machine, is_summary=call.flag("summary")) for machine in rows])


async def create_machine(call: Call) -> Answer:
    machine = call.machines.create(call.app.name, call.body, call.fault)
    document = machine_json(machine)
    return Answer(200, document | ({"nonce": machine.lease.nonce} if machine.lease else {}))


async def get_machine(call: Call) -> Answer:
    machine = call.machine
    if machine.hidden_gets > 0:
        machine.hidden_gets -= 1
        raise Refusal(404, "machine not found")
    document = machine_json(machine)
    call.machines.look(machine)
    return Answer(200, document)


async def update_machine(call: Call) -> Answer:
    call.machines.refuse_leased(call.machine, call.nonce)
    call.machines.update(call.machine, call.body)
    return Answer(200, machine_json(call.machine))


async def delete_machine(call: Call) -> Answer:
    call.machines.refuse_leased(call.machine, call.nonce)
    call.machines.destroy(call.machine, is_forced=call.flag("force") or call.flag("kill"))
    return Answer(200, {"ok": True})


async def start_machine(call: Call) -> Answer:
    call.machines.refuse_leased(call.machine, call.nonce)
    return Answer(200, {"previous_state": call.machines.start(call.machine), "migrated": False, "new_host": ""})


async def stop_machine(call: Call) -> Answer:
    call.machines.refuse_leased(call.machine, call.nonce)
    call.machines.stop(call.machine)
    return Answer(200, {"ok": True})


async def suspend_machine(call: Call) -> Answer:
    call.machines.refuse_leased(call.machine, call.nonce)
    call.machines.stop(call.machine, into="suspended")
    return Answer(200, {"ok": True})


async def restart_machine(call: Call) -> Answer:
    call.machines.refuse_leased(call.machine, call.nonce)
    call.machines.stop(call.machine)
    call.machines.start(call.machine)
    return Answer(200, {"ok": True})


async def signal_machine(call: Call) -> Answer:
    call.machines.refuse_leased(call.machine, call.nonce)
    if call.machine.state != "started":
        raise Refusal(412, f"failed_precondition: unable to signal machine in state '{call.machine.state}'")
    return Answer(200, {"ok": True})


async def cordon_machine(call: Call) -> Answer:
    _cordon(call, is_cordoned=True)
    return Answer(200, {"ok": True})


async def uncordon_machine(call: Call) -> Answer:
    _cordon(call, is_cordoned=False)
    return Answer(200, {"ok": True})


def _cordon(call: Call, *, is_cordoned: bool) -> None:
    call.machines.refuse_leased(call.machine, call.nonce)
    call.machines.refuse_sick(call.machine)
    call.machine.is_cordoned = is_cordoned


async def list_events(call: Call) -> Answer:
    limit = int(call.query.get("limit") or 20)
    if not 1 <= limit <= 50:
        raise Refusal(400, "invalid_argument: limit must be between 1 and 50")
    return Answer(200, [event_json(event) for event in call.machine.events[:limit]])


async def list_versions(call: Call) -> Answer:
    return Answer(200, [{"version": v, "user_config": config} for v, config in reversed(call.machine.versions)])


async def wait_machine(call: Call) -> Answer:
    states = frozenset(part for part in (call.query.get("state") or "started").split(",") if part)
    machine = call.machine
    await call.machines.wait(machine, states=states, timeout_s=float(call.query.get("timeout") or 60))
    newest = machine.events[0].id if machine.events else ""
    return Answer(200, {"ok": True, "state": machine.state, "version": machine.version, "event_id": newest})


async def exec_machine(call: Call) -> Answer:
    return Answer(200, await call.machines.execute(call.machine, call.body, call.nonce, call.fault))


# -- leases


async def get_lease(call: Call) -> Answer:
    lease = call.machines.lease(call.machine)
    if lease is None:
        raise Refusal(404, "lease not found")
    return Answer(200, _lease_json(lease, shows_nonce=False))


async def acquire_lease(call: Call) -> Answer:
    body = call.body or {}
    ttl_s = int(call.query.get("ttl") or body.get("ttl") or 60)
    lease = call.machines.acquire_lease(
        call.machine, ttl_s=ttl_s, description=body.get("description", ""), nonce=call.nonce
    )
    return Answer(201, _lease_json(lease, shows_nonce=True))


async def release_lease(call: Call) -> Answer:
    if call.nonce is None:
        raise Refusal(400, "invalid_argument: missing machine lease nonce")
    call.machines.refuse_leased(call.machine, call.nonce)
    call.machine.lease = None
    return Answer(200, {"status": "success", "data": {"ok": True}})


def _lease_json(lease: Lease, *, shows_nonce: bool) -> JsonObject:
    data: JsonObject = {
        "expires_at": int(lease.expires_at.timestamp()),
        "owner": lease.owner,
        "description": lease.description,
        "version": lease.version,
    }
    return {"status": "success", "data": data | ({"nonce": lease.nonce} if shows_nonce else {})}


# -- metadata: no restart, no new version, not guarded by leases; written by the machine's host


async def get_metadata(call: Call) -> Answer:
    return Answer(200, dict(call.machine.config.get("metadata") or {}))


async def replace_metadata(call: Call) -> Answer:
    call.machines.refuse_sick(call.machine)
    _refuse_other_version(call)
    call.machine.config["metadata"] = {key: value for key, value in call.body["metadata"].items() if value}
    return Answer(204)


async def patch_metadata(call: Call) -> Answer:
    call.machines.refuse_sick(call.machine)
    _refuse_other_version(call)
    merged = dict(call.machine.config.get("metadata") or {}) | call.body["metadata"]
    call.machine.config["metadata"] = {key: value for key, value in merged.items() if value}
    return Answer(204)


async def get_metadata_key(call: Call) -> Answer:
    value = (call.machine.config.get("metadata") or {}).get(call.path["key"])
    if value is None:
        raise Refusal(404, "metadata key not found")
    return Answer(200, {"value": value})


async def set_metadata_key(call: Call) -> Answer:
    call.machines.refuse_sick(call.machine)
    metadata = dict(call.machine.config.get("metadata") or {})
    call.machine.config["metadata"] = metadata | {call.path["key"]: call.body["value"]}
    return Answer(204)


async def delete_metadata_key(call: Call) -> Answer:
    call.machines.refuse_sick(call.machine)
    (call.machine.config.get("metadata") or {}).pop(call.path["key"], None)
    return Answer(204)


def _refuse_other_version(call: Call) -> None:
    if call.body.get("machine_version") not in {None, call.machine.version}:
        raise Refusal(412, "failed_precondition: machine version does not match")


ENDPOINTS = (
    Endpoint("GET", _BASE, "machine.list", list_machines),
    Endpoint("POST", _BASE, "machine.create", create_machine),
    Endpoint("GET", _ONE, "machine.get", get_machine),
    Endpoint("POST", _ONE, "machine.update", update_machine),
    Endpoint("DELETE", _ONE, "machine.delete", delete_machine),
    Endpoint("POST", _ONE + "/start", "machine.start", start_machine),
    Endpoint("POST", _ONE + "/stop", "machine.stop", stop_machine),
    Endpoint("POST", _ONE + "/suspend", "machine.suspend", suspend_machine),
    Endpoint("POST", _ONE + "/restart", "machine.restart", restart_machine),
    Endpoint("POST", _ONE + "/signal", "machine.signal", signal_machine),
    Endpoint("POST", _ONE + "/cordon", "machine.cordon", cordon_machine),
    Endpoint("POST", _ONE + "/uncordon", "machine.uncordon", uncordon_machine),
    Endpoint("GET", _ONE + "/events", "machine.events", list_events),
    Endpoint("GET", _ONE + "/versions", "machine.versions", list_versions),
    Endpoint("GET", _ONE + "/wait", "machine.wait", wait_machine),
    Endpoint("POST", _ONE + "/exec", "machine.exec", exec_machine),
    Endpoint("GET", _ONE + "/lease", "lease.get", get_lease),
    Endpoint("POST", _ONE + "/lease", "lease.acquire", acquire_lease),
    Endpoint("DELETE", _ONE + "/lease", "lease.release", release_lease),
    Endpoint("GET", _ONE + "/metadata", "metadata.list", get_metadata),
    Endpoint("PUT", _ONE + "/metadata", "metadata.replace", replace_metadata),
    Endpoint("PATCH", _ONE + "/metadata", "metadata.patch", patch_metadata),
    Endpoint("GET", _ONE + "/metadata/{key}", "metadata.get", get_metadata_key),
    Endpoint("POST", _ONE + "/metadata/{key}", "metadata.set", set_metadata_key),
    Endpoint("DELETE", _ONE + "/metadata/{key}", "metadata.delete", delete_metadata_key),
)

"""How apps are reached: addresses and certificates."""

from __future__ import annotations

from flykeep.testing.flysim.addresses import assign
from flykeep.testing.flysim.http_call import Answer, Call, Endpoint
from flykeep.testing.flysim.model import Address, JsonObject, Refusal
from flykeep.testing.flysim.render import instant

_ADDRESSES = "/apps/{app_name}/ip_assignments"
_CERTIFICATES = "/apps/{app_name}/certificates"
_PAGE_LIMIT = 25


async def list_addresses(call: Call) -> Answer:
    return Answer(200, {"ips": [_address_json(address) for address in call.app.addresses]})


async def assign_address(call: Call) -> Answer:
    region = call.body.get("region") or "global"
    (made,) = assign(call.app, call.body["type"], now=call.world.now(), region=region)
    return Answer(200, _address_json(made))


async def release_address(call: Call) -> Answer:
    app = call.app
    if call.path["ip"] not in {address.ip for address in app.addresses}:
        raise Refusal(404, "ip address not found")
    app.addresses[:] = [address for address in app.addresses if address.ip != call.path["ip"]]
    return Answer(204)


def _address_json(address: Address) -> JsonObject:
    """The kind is not told: an address and whether it is shared is all there is."""
    document = {"ip": address.ip, "region": address.region, "created_at": instant(address.created_at)}
    return document | ({"shared": True} if address.kind == "shared_v4" else {})


async def list_certificates(call: Call) -> Answer:
    names = sorted(call.app.certificates)
    start = int(call.query.get("cursor") or 0)
    end = start + min(int(call.query.get("limit") or _PAGE_LIMIT), _PAGE_LIMIT)
    rows = [{"hostname": name, "status": _status(call, name), "acme_requested": True} for name in names[start:end]]
    document: JsonObject = {"certificates": rows, "total_count": len(names)}
    return Answer(200, document | ({"next_cursor": str(end)} if end < len(names) else {}))


async def request_certificate(call: Call) -> Answer:
    app, name = call.app, call.body["hostname"]
    if any(name in other.certificates for other in call.world.apps.values()):
        raise Refusal(422, "hostname already exists on an app")
    app.certificates[name] = call.world.now()
    return Answer(201, _certificate_json(call, name))


async def get_certificate(call: Call) -> Answer:
    _refuse_unknown(call)
    return Answer(200, _certificate_json(call, call.path["hostname"]))


async def delete_certificate(call: Call) -> Answer:
    _refuse_unknown(call)
    del call.app.certificates[call.path["hostname"]]
    return Answer(204)


def _refuse_unknown(call: Call) -> None:
    if call.path["hostname"] not in call.app.certificates:
        raise Refusal(404, "certificate not found")


def _certificate_json(call: Call, name: str) -> JsonObject:
    return {"hostname": name, "status": _status(call, name), "acme_requested": True, "configured": True}


def _status(call: Call, name: str) -> str:
    """One just asked for waits for DNS."""
    return "active" if call.app.certificates[name] < call.world.now() else "pending_validation"


ENDPOINTS = (
    Endpoint("GET", _ADDRESSES, "address.list", list_addresses),
    Endpoint("POST", _ADDRESSES, "address.assign", assign_address),
    Endpoint("DELETE", _ADDRESSES + "/{ip}", "address.release", release_address),
    Endpoint("GET", _CERTIFICATES, "certificate.list", list_certificates),
    Endpoint("POST", _CERTIFICATES + "/acme", "certificate.request", request_certificate),
    Endpoint("GET", _CERTIFICATES + "/{hostname}", "certificate.get", get_certificate),
    Endpoint("DELETE", _CERTIFICATES + "/{hostname}", "certificate.delete", delete_certificate),
)

"""The front of the simulated APIs: authorization, judging, rate limits, faults, and the record of it all."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flykeep.testing.flysim import http_addresses, http_apps, http_machines, http_volumes
from flykeep.testing.flysim.faults import Fault, FaultKind, FaultScript
from flykeep.testing.flysim.graph import GraphApi, GraphRequest, redacted_variables
from flykeep.testing.flysim.http_call import Answer, Call, Endpoint
from flykeep.testing.flysim.journal import (
    MEANT_WRONG_HEADER,
    ReceivedWebhook,
    RecordedRequest,
    redacted_body,
    redacted_headers,
)
from flykeep.testing.flysim.judge import Judge
from flykeep.testing.flysim.machines import Machines
from flykeep.testing.flysim.model import Refusal, TokenGrant
from flykeep.testing.flysim.tokens import find_grant
from flykeep.testing.flysim.world import World

_HTML = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>502 Bad Gateway</body>\r\n</html>\r\n"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_WIRE_KINDS_BEFORE = frozenset(
    {FaultKind.RATE_LIMITED, FaultKind.ERROR_BEFORE, FaultKind.RESET_BEFORE, FaultKind.HTML_502, FaultKind.HANG}
)


class Records(Protocol):
    """Where what happened is kept."""

    def keep_request(self, request: RecordedRequest) -> None:
        """Keep one request."""
        ...

    def keep_webhook(self, webhook: ReceivedWebhook) -> None:
        """Keep one delivery."""
        ...


class Connections:
    """The open connections, by the client's address, so that a fault can cut one."""

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, int], Any] = {}

    def opened(self, transport: Any) -> None:
        """Remember a connection."""
        peer = transport.get_extra_info("peername")
        self._sockets[peer[0], peer[1]] = transport

    def closed(self, transport: Any) -> None:
        """Forget a connection."""
        self._sockets = {peer: known for peer, known in self._sockets.items() if known is not transport}

    def reset(self, client: tuple[str, int]) -> None:
        """Cut a connection, so that the client sees it reset."""
        transport = self._sockets.get(client)
        if transport is not None:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()


class _CutConnection(Response):
    """Answers nothing: the connection is gone."""

    def __init__(self, connections: Connections, client: tuple[str, int]) -> None:
        super().__init__()
        self.status_code = 599
        self._connections = connections
        self._client = client

    async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        self._connections.reset(self._client)


class _SlowResponse(Response):
    """Half of a body, a pause on the clock, the other half."""

    def __init__(self, inner: Response, world: World, pause: timedelta) -> None:
        super().__init__()
        self.status_code = inner.status_code
        self._inner = inner
        self._world = world
        self._pause = pause

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        body = bytes(self._inner.body)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self._inner.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await self._world.clock.sleep(self._pause)
        await send({"type": "http.response.body", "body": body[len(body) // 2 :], "more_body": False})


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A request as far as it can be read before it is authorized."""

    request: Request
    raw: bytes
    body: Any
    is_json: bool
    action: str
    app: str | None


class Front:
    """Turns requests into calls on the world, and refusals and faults into what Fly would send."""

    def __init__(
        self,
        *,
        world: World,
        machines: Machines,
        graph: GraphApi,
        faults: FaultScript,
        records: Records,
        connections: Connections,
    ) -> None:
        self._world = world
        self._machines = machines
        self._graph = graph
        self._faults = faults
        self._records = records
        self._connections = connections
        self._judge = Judge.shipped()
        self.crashes: list[Exception] = []

    def application(self) -> ASGIApp:
        """The ASGI application: the Machines API under `/v1`, `/graphql`, and `/_sim/webhook`."""
        inner = self._routes()

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await inner(scope, receive, send)
            except ClientDisconnect:
                raise
            except Exception as error:
                self.crashes.append(error)
                raise

        return watched

    def _routes(self) -> Starlette:
        parts = (http_apps, http_addresses, http_volumes, http_machines)
        endpoints = [endpoint for part in parts for endpoint in part.ENDPOINTS]
        routes = [self._route(endpoint) for endpoint in endpoints]
        routes.append(Route("/graphql", self._serve_graphql, methods=["POST"]))
        routes.append(Route("/_sim/webhook", self._serve_webhook, methods=["POST"]))
        routes.append(Route("/{rest:path}", self._serve_unknown, methods=_METHODS))
        return Starlette(routes=routes)

    def _route(self, endpoint: Endpoint) -> Route:
        async def serve(request: Request) -> Response:
            return await self._serve(request, endpoint)

        return Route("/v1" + endpoint.template, serve, methods=[endpoint.method])

    # -- the Machines API

    async def _serve(self, request: Request, endpoint: Endpoint) -> Response:
        incoming = await _read(request, endpoint.action, request.path_params.get("app_name"))
        try:
            grant = self._authorize(request, is_write=endpoint.method != "GET")
            objections = self._objections(incoming)
            if objections:
                return self._finish(incoming, _json(400, {"error": "; ".join(objections)}), is_judged_refused=True)
            if not self._admits(endpoint, request.path_params):
                return self._finish(incoming, _limited(self._world.scenario.retry_after_seconds))
            fault = self._faults.take(action=endpoint.action, app=incoming.app, method=endpoint.method)
            if fault is not None and fault.kind in _WIRE_KINDS_BEFORE:
                return self._finish(incoming, await self._before(incoming, fault))
            response = await self._act(incoming, endpoint, grant, fault)
        except Refusal as refusal:
            return self._finish(incoming, _refused(refusal))
        return self._finish(incoming, self._after(incoming, response, fault))

    async def _act(self, incoming: _Incoming, endpoint: Endpoint, grant: TokenGrant, fault: Fault | None) -> Response:
        request = incoming.request
        call = Call(
            world=self._world,
            machines=self._machines,
            grant=grant,
            path=request.path_params,
            query=_query(request),
            body=incoming.body,
            nonce=request.headers.get("fly-machine-lease-nonce"),
            fault=fault,
        )
        self._disturb(call)
        try:
            return _answered(await endpoint.handler(call))
        except Refusal as refusal:
            if fault is None:
                raise
            return _refused(refusal)

    def _disturb(self, call: Call) -> None:
        """Faults that happen to the world, just before the request is looked at."""
        kind = call.fault.kind if call.fault else None
        app = call.path.get("app_name")
        if kind is FaultKind.MIGRATION and app:
            http_volumes.migrate_all(call)
        elif kind is FaultKind.HOST_UNREACHABLE and app:
            self._world.set_host_status(app, "unreachable")
        elif kind is FaultKind.MACHINE_LOST and "machine_id" in call.path:
            self._machines.lose(call.machine)
        elif kind is FaultKind.CHECKS_FAIL and "machine_id" in call.path:
            call.machine.failing_checks.update(call.machine.config.get("checks") or {})
        elif kind is FaultKind.LEASE_HELD and "machine_id" in call.path:
            self._world.hold_lease(call.machine)

    def _authorize(self, request: Request, *, is_write: bool) -> TokenGrant:
        grant = find_grant(self._world, request.headers.get("authorization", ""))
        if grant is None:
            raise Refusal(401, "Authenticate: token validation error")
        is_probe = request.url.path.startswith("/v1/tokens/")
        if is_write and grant.is_read_only and not is_probe:
            raise Refusal(403, "unauthorized")
        return grant

    def _objections(self, incoming: _Incoming) -> list[str]:
        if not incoming.is_json:
            return ["the body is not JSON"]
        request = incoming.request
        path = request.url.path.removeprefix("/v1")
        return self._judge.objections(method=request.method, path=path, query=_query(request), body=incoming.body)

    def _admits(self, endpoint: Endpoint, path: Mapping[str, str]) -> bool:
        return not self._world.are_rate_limits_on or self._world.limits.admit(
            action=endpoint.action, identifier=endpoint.identifier(path)
        )

    async def _before(self, incoming: _Incoming, fault: Fault) -> Response:
        match fault.kind:
            case FaultKind.RATE_LIMITED:
                return _limited(fault.retry_after_s)
            case FaultKind.HTML_502:
                return Response(_HTML, status_code=502, media_type="text/html")
            case FaultKind.RESET_BEFORE:
                return _CutConnection(self._connections, _client(incoming.request))
            case FaultKind.HANG:
                await self._world.clock.sleep(timedelta(seconds=fault.duration_s))
                return _CutConnection(self._connections, _client(incoming.request))
            case _:
                return _json(fault.status, {"error": fault.text or "unavailable: please try again"})

    def _after(self, incoming: _Incoming, response: Response, fault: Fault | None) -> Response:
        match fault.kind if fault else None:
            case FaultKind.ERROR_AFTER:
                assert fault is not None
                return _json(fault.status, {"error": fault.text or "internal: something went wrong"})
            case FaultKind.RESET_AFTER:
                return _CutConnection(self._connections, _client(incoming.request))
            case FaultKind.SLOW_BODY:
                assert fault is not None
                return _SlowResponse(response, self._world, timedelta(seconds=fault.duration_s))
            case _:
                return response

    # -- GraphQL

    async def _serve_graphql(self, request: Request) -> Response:
        incoming = await _read(request, "graphql.invalid", None)
        body = incoming.body if isinstance(incoming.body, dict) else {}
        asked = GraphRequest(str(body.get("query", "")), body.get("variables") or {}, body.get("operationName"))
        incoming = _Incoming(request, incoming.raw, body, incoming.is_json, f"graphql.{asked.field_name}", asked.app)
        recorded = {"query": asked.query, "variables": redacted_variables(asked)}
        try:
            grant = self._authorize(request, is_write=False)
        except Refusal as refusal:
            return self._finish(incoming, _refused(refusal), recorded_body=recorded)
        unknown = set(body) - {"query", "variables", "operationName"}
        objections = [f"unknown field {name!r}" for name in sorted(unknown)] + self._graph.objections(asked)
        if objections:
            errors = [{"message": text, "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}} for text in objections]
            response = _json(200, {"errors": errors})
            return self._finish(incoming, response, is_judged_refused=True, recorded_body=recorded)
        fault = self._faults.take(action=incoming.action, app=incoming.app, method="POST")
        if fault is not None and fault.kind in _WIRE_KINDS_BEFORE:
            return self._finish(incoming, await self._before(incoming, fault), recorded_body=recorded)
        if fault is not None and fault.kind is FaultKind.GRAPHQL_ERROR:
            error = {"message": fault.text or "Something went wrong", "extensions": {"code": "SERVER_ERROR"}}
            response = _json(200, {"data": None, "errors": [error]})
        else:
            response = self._after(incoming, _json(200, self._graph.execute(asked, grant)), fault)
        return self._finish(incoming, response, recorded_body=recorded)

    # -- the rest

    async def _serve_webhook(self, request: Request) -> Response:
        received = ReceivedWebhook(self._world.now(), dict(request.headers), await request.body())
        fault = self._faults.take(action="webhook", app=None, method="POST")
        if fault is not None and fault.kind in _WIRE_KINDS_BEFORE:
            incoming = _Incoming(request, b"", None, is_json=True, action="webhook", app=None)
            return await self._before(incoming, fault)
        self._records.keep_webhook(received)
        return Response(status_code=204)

    async def _serve_unknown(self, request: Request) -> Response:
        incoming = await _read(request, "unknown", None)
        response = _json(404, {"error": "404 page not found"})
        return self._finish(incoming, response, is_judged_refused=True)

    def _finish(
        self,
        incoming: _Incoming,
        response: Response,
        *,
        is_judged_refused: bool = False,
        recorded_body: Any = None,
    ) -> Response:
        request = incoming.request
        self._records.keep_request(
            RecordedRequest(
                at=self._world.now(),
                method=request.method,
                path=request.url.path,
                query=_query(request),
                body=redacted_body(incoming.body) if recorded_body is None else recorded_body,
                action=incoming.action,
                app=incoming.app,
                status=response.status_code,
                is_judged_refused=is_judged_refused,
                is_meant_wrong=MEANT_WRONG_HEADER in request.headers,
                headers=redacted_headers(dict(request.headers)),
            )
        )
        response.headers["fly-request-id"] = self._world.new_id("01", 26).upper() + "-sim"
        if is_judged_refused:
            response.headers["x-flysim-judge"] = "refused"
        return response


async def _read(request: Request, action: str, app: str | None) -> _Incoming:
    raw = await request.body()
    if not raw:
        return _Incoming(request, raw, None, is_json=True, action=action, app=app)
    try:
        return _Incoming(request, raw, json.loads(raw), is_json=True, action=action, app=app)
    except ValueError:
        return _Incoming(request, raw, None, is_json=False, action=action, app=app)


def _query(request: Request) -> dict[str, str]:
    """Query names and values; a repeated name's values are joined with commas."""
    joined: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _client(request: Request) -> tuple[str, int]:
    assert request.client is not None
    return request.client.host, request.client.port


def _json(status: int, document: Any) -> Response:
    return Response(json.dumps(document), status_code=status, media_type="application/json")


def _answered(answer: Answer) -> Response:
    if answer.document is None:
        return Response(status_code=answer.status)
    return _json(answer.status, answer.document)


def _refused(refusal: Refusal) -> Response:
    if refusal.raw_body is not None:
        return Response(refusal.raw_body, status_code=refusal.status, media_type="application/octet-stream")
    return _json(refusal.status, refusal.body())


def _limited(retry_after_s: int | None) -> Response:
    response = _json(429, {"error": "rate limit exceeded"})
    if retry_after_s is not None:
        response.headers["retry-after"] = str(retry_after_s)
    return response

"""Fly's GraphQL API, as little of it as has no REST twin: the organization's node id and SSH certificates.

Source: Fly's GraphQL schema, and flyctl, internal/command/ssh/connect.go, for the input it sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeVar

from flykeep.adapters.fly.errors import Answer, Call, short, unexpected
from flykeep.adapters.fly.http import FlyHttp, Repeat, Request
from flykeep.adapters.fly.tokens import FlyTokens
from flykeep.adapters.fly.wire import (
    WireCertificate,
    WireGraph,
    WireGraphError,
    WireOrganization,
    parse,
    parse_value,
)
from flykeep.domain.errors import (
    FlyError,
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyNotFoundError,
    FlyRateLimitedError,
    FlyUnavailableError,
)
from flykeep.domain.ids import AppName

T = TypeVar("T")

_ORGANIZATION = """
query FlykeepOrganization($name: String) {
  app(name: $name) { organization { id } }
}
"""
_ISSUE = """
mutation FlykeepIssueCertificate($input: IssueCertificateInput!) {
  issueCertificate(input: $input) { certificate }
}
"""
_VALID_HOURS = 1
_PRINCIPALS = ("root", "fly")
# A token that may not do something is accepted by HTTP and refused here; a token that is not accepted is a plain 401.
_BY_CODE: dict[str, type[FlyError]] = {
    "NOT_FOUND": FlyNotFoundError,
    "UNAUTHORIZED": FlyForbiddenError,
    "FORBIDDEN": FlyForbiddenError,
    "GRAPHQL_VALIDATION_FAILED": FlyInvalidRequestError,
    "UNPROCESSABLE": FlyInvalidRequestError,
    "SERVER_ERROR": FlyUnavailableError,
    "INTERNAL_SERVER_ERROR": FlyUnavailableError,
}
_RATE_LIMIT_CODES = frozenset({"RATE_LIMITED", "TOO_MANY_REQUESTS", "THROTTLED"})


class FlyGraphql:
    """Sends operations and reads `errors` before `data`, for Fly's failures come with status 200."""

    def __init__(self, *, http: FlyHttp, tokens: FlyTokens, url: str) -> None:
        self._http = http
        self._tokens = tokens
        self._url = url
        self._organization_id: str | None = None
        self._organization_lock = asyncio.Lock()

    async def issue_certificate(self, app: AppName, public_key: str) -> str:
        """A certificate line for one hour; asking twice leaves one more entry in a log and does no harm."""
        variables = {
            "input": {
                "organizationId": await self._organization_of(app),
                "appNames": [app],
                "principals": list(_PRINCIPALS),
                "publicKey": public_key,
                "validHours": _VALID_HOURS,
            }
        }
        issued = await self._execute(
            WireCertificate, query=_ISSUE, variables=variables, field="issueCertificate", app=app
        )
        return issued.issueCertificate.certificate.strip()

    async def _organization_of(self, app: AppName) -> str:
        """The organization's node id, asked for once; through an app, for an app's token may not see more."""
        async with self._organization_lock:
            if self._organization_id is None:
                found = await self._execute(
                    WireOrganization, query=_ORGANIZATION, variables={"name": app}, field="app", app=app
                )
                self._organization_id = found.app.organization.id
            return self._organization_id

    async def _execute(
        self, shape: type[T], *, query: str, variables: Mapping[str, object], field: str, app: AppName
    ) -> T:
        request = Request(
            method="POST",
            url=self._url,
            authorization=self._tokens.graphql_authorization(),
            action=f"graphql.{field}",
            identifier=app,
            repeat=Repeat.HARMLESS,
            facts={"app": app},
            body={"query": query, "variables": variables},
        )
        return await self._http.send(request, lambda answer: self._data(shape, answer=answer, call=request.call))

    def _data(self, shape: type[T], *, answer: Answer, call: Call) -> T:
        whole = parse(WireGraph, answer=answer, call=call)
        if whole.errors:
            raise self._error(whole.errors[0], answer=answer, call=call)
        if whole.data is None:
            raise unexpected("has neither data nor errors", answer=answer, call=call)
        return parse_value(shape, whole.data, answer=answer, call=call)

    def _error(self, error: WireGraphError, *, answer: Answer, call: Call) -> FlyError:
        code = (error.extensions.code if error.extensions else None) or ""
        text = short(self._tokens.scrub(error.message)) or "without saying why"
        message = f"Fly refused {call.action}: {text}"
        facts = {**call.facts, "fly_code": short(self._tokens.scrub(code)) or None}
        if code in _RATE_LIMIT_CODES:
            return FlyRateLimitedError(message, status=answer.status, request_id=answer.request_id, facts=facts)
        kind = _BY_CODE.get(code, FlyError)
        return kind(message, status=answer.status, request_id=answer.request_id, facts=facts)

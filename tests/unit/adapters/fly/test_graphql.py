"""GraphQL: errors come before data, and an answer without its data is none."""

import json
from typing import Any

import httpx
import pytest

from flykeep.domain.errors import (
    FlyForbiddenError,
    FlyInvalidRequestError,
    FlyNotFoundError,
    FlyRateLimitedError,
    FlyUnexpectedAnswerError,
)
from tests.unit.adapters.fly.wired import (
    APP,
    FLAPS,
    PLATFORM,
    REQUEST_ID,
    TOKEN,
    VOLUME,
    Wired,
    json_answer,
)

_VOLUME_URL = f"{FLAPS}/v1/apps/{APP}/volumes/{VOLUME}"
_ORG = f"{FLAPS}/v1/orgs/acme"
_TOO_LARGE = "Unhandled rejection: Rejection([PayloadTooLarge, MethodNotAllowed])"


def _organization_then(*answers: Any) -> list[httpx.Response]:
    return [json_answer({"data": {"app": {"organization": {"id": "org_1"}}}}), *[json_answer(a) for a in answers]]


async def test_a_certificate_is_asked_for_as_flyctl_does_and_the_organization_only_once() -> None:
    wired = Wired()
    issued = {"data": {"issueCertificate": {"certificate": "ssh-ed25519-cert-v01@openssh.com AAAA\n"}}}
    route = wired.answers("POST", f"{PLATFORM}/graphql", *_organization_then(issued, issued))

    assert await wired.client.issue_certificate(APP, "ssh-ed25519 AAAA") == "ssh-ed25519-cert-v01@openssh.com AAAA"
    await wired.client.issue_certificate(APP, "ssh-ed25519 BBBB")

    asked = [json.loads(call.request.content)["variables"] for call in route.calls]
    assert asked[0] == {"name": APP}
    assert asked[1]["input"] == {
        "organizationId": "org_1",
        "appNames": [APP],
        "principals": ["root", "fly"],
        "publicKey": "ssh-ed25519 AAAA",
        "validHours": 1,
    }
    assert len(asked) == 3
    assert all(call.request.headers["authorization"] == TOKEN for call in route.calls)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("NOT_FOUND", FlyNotFoundError), ("UNAUTHORIZED", FlyForbiddenError), ("UNPROCESSABLE", FlyInvalidRequestError)],
)
async def test_errors_of_graphql_come_before_its_data(code: str, expected: type[Exception]) -> None:
    wired = Wired()
    error = {"message": "Could not", "path": ["app"], "extensions": {"code": code, "serviceName": "x"}}
    body = {"data": {"issueCertificate": {"certificate": "ssh"}}, "errors": [error]}
    wired.answers("POST", f"{PLATFORM}/graphql", *_organization_then(body))

    with pytest.raises(expected, match="Could not") as caught:
        await wired.client.issue_certificate(APP, "ssh-ed25519 AAAA")

    assert getattr(caught.value, "request_id") == REQUEST_ID  # noqa: B009


async def test_a_passing_fault_of_graphql_is_asked_again() -> None:
    wired = Wired()
    fault = {"data": None, "errors": [{"message": "Something", "extensions": {"code": "SERVER_ERROR"}}]}
    issued = {"data": {"issueCertificate": {"certificate": "ssh"}}}
    wired.answers("POST", f"{PLATFORM}/graphql", *_organization_then(fault, issued))

    assert await wired.client.issue_certificate(APP, "ssh-ed25519 AAAA") == "ssh"
    assert wired.waited_s >= 1


async def test_a_rate_limit_of_graphql_is_one() -> None:
    wired = Wired()
    fault = {"errors": [{"message": "slow down", "extensions": {"code": "RATE_LIMITED"}}]}
    wired.answers("POST", f"{PLATFORM}/graphql", *_organization_then(*[fault] * 5))

    with pytest.raises(FlyRateLimitedError):
        await wired.client.issue_certificate(APP, "ssh-ed25519 AAAA")


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {"issueCertificate": None}}, {"data": {}}, [], "x"])
async def test_graphql_without_its_data_is_no_answer(body: Any) -> None:
    wired = Wired()
    wired.answers("POST", f"{PLATFORM}/graphql", *_organization_then(body))

    with pytest.raises(FlyUnexpectedAnswerError):
        await wired.client.issue_certificate(APP, "ssh-ed25519 AAAA")

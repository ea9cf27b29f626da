"""flyctl's calls to Fly: what it asks, and what it makes of a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

_CERTIFICATE = """
mutation($input: IssueCertificateInput!) { issueCertificate(input: $input) { certificate } }
"""
_ORGANIZATION = "query($name: String) { app(name: $name) { organization { id } } }"
_VIEWER = "query { viewer { ... on User { email } ... on Macaroon { email } } }"
_HOURS = 1
_TIMEOUT_S = 75.0


class RefusedError(Exception):
    """Fly said no; the text is what flyctl prints."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class FlyApi:
    """One session's calls."""

    client: httpx.AsyncClient
    flaps_base_url: str
    api_base_url: str

    async def ask(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> Any:
        """A call of the Machines API; raises `RefusedError`."""
        answer = await self.client.request(method, f"{self.flaps_base_url}/v1{path}", json=body, params=query)
        if answer.is_error:
            raise RefusedError(answer.status_code, _reason(answer))
        return answer.json() if answer.content else None

    async def viewer(self) -> str:
        """Whose token it is."""
        return str((await self._graph(_VIEWER, {}))["viewer"]["email"])

    async def certificate(self, app: str, public_key: str) -> str:
        """A certificate for root on the app's machines, for an hour."""
        organization = (await self._graph(_ORGANIZATION, {"name": app}))["app"]["organization"]["id"]
        wanted = {
            "organizationId": organization,
            "principals": ["root", "fly"],
            "appNames": [app],
            "publicKey": public_key,
            "validHours": _HOURS,
        }
        return str((await self._graph(_CERTIFICATE, {"input": wanted}))["issueCertificate"]["certificate"])

    async def _graph(self, query: str, variables: Mapping[str, Any]) -> Any:
        asked = {"query": query, "variables": variables}
        answer = await self.client.post(f"{self.api_base_url}/graphql", json=asked)
        if answer.is_error:
            raise RefusedError(answer.status_code, _reason(answer))
        document = answer.json()
        if document.get("errors"):
            raise RefusedError(200, document["errors"][0]["message"])
        return document["data"]


def session(environment: Mapping[str, str]) -> FlyApi:
    """What `environment` logs in to; raises `RefusedError` where it holds no token."""
    token = environment.get("FLY_ACCESS_TOKEN") or environment.get("FLY_API_TOKEN")
    if not token:
        raise RefusedError(401, "no access token available. Please login with 'flyctl auth login'")
    flaps = environment.get("FLY_FLAPS_BASE_URL", "https://api.machines.dev")
    client = httpx.AsyncClient(headers={"Authorization": token}, timeout=_TIMEOUT_S, trust_env=False)
    return FlyApi(client, flaps, environment.get("FLY_API_BASE_URL", "https://api.fly.io"))


def _reason(answer: httpx.Response) -> str:
    try:
        document = answer.json()
    except ValueError:
        document = {}
    reason = document.get("error") or document.get("message") if isinstance(document, dict) else None
    return f"{reason or answer.text[:200] or answer.reason_phrase} (status {answer.status_code})"

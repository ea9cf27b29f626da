"""One HTTP POST with the outcome sorted into accepted, worth another try, and refused for good.

No error repeats the URL: for most services the URL is the secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from flykeep.adapters.notifiers.wire_logs import quiet_wire_logs
from flykeep.adapters.trust import trusted
from flykeep.domain.errors import NotifyError

TIMEOUT_S = 10.0
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429})


async def post(url: httpx.URL, *, content: bytes, headers: Mapping[str, str], notifier: str) -> None:
    """Send `content`; any 2xx is acceptance. The answer's body is not read. Raises NotifyError."""
    quiet_wire_logs()
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx.AsyncClient(verify=trusted(), timeout=TIMEOUT_S) as client,
            client.stream("POST", url, content=content, headers=dict(headers)) as response,
        ):
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        # The cause may quote the URL, so that only its kind is told.
        raise NotifyError(f"could not be reached: {type(error).__name__}", facts={"notifier": notifier}) from None
    if 200 <= status < 300:
        return
    is_permanent = 300 <= status < 500 and status not in _WORTH_ANOTHER_TRY
    raise NotifyError(
        f"answered with status {status}", is_permanent=is_permanent, facts={"notifier": notifier, "status": status}
    )


def parse_url(text: str, *, notifier: str) -> httpx.URL:
    """Raises a permanent NotifyError for what is not an http or https URL."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        raise NotifyError(
            "its secret does not hold an http or https URL", is_permanent=True, facts={"notifier": notifier}
        )
    return url

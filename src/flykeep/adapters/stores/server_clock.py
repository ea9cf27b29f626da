"""What time a store has, from the `Date` of any answer; signatures of another time are refused."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from flykeep.adapters.trust import trusted
from flykeep.domain.errors import StoreError, StoreUnavailableError
from flykeep.ports.store import StoreOrder

_TIME_LIMIT_S = 20.0
_DEFAULT_REGION = "us-east-1"


async def server_time(order: StoreOrder) -> datetime:
    """Asked without credentials, so that even a refusal for a wrong clock tells the right one."""
    facts = {"store": order.name}
    try:
        async with httpx.AsyncClient(verify=trusted(), timeout=_TIME_LIMIT_S) as client:
            answer = await client.head(_address(order))
    except httpx.HTTPError as error:
        words = f"Store {order.name} did not answer ({type(error).__name__})."
    else:
        return _date_of(answer, facts)
    raise StoreUnavailableError(words, facts=facts)  # without the cause: it holds the address, which may hold a key


def _date_of(answer: httpx.Response, facts: dict[str, str]) -> datetime:
    try:
        return parsedate_to_datetime(answer.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError) as error:
        raise StoreError("The store does not say what time it is.", facts=facts) from error


def _address(order: StoreOrder) -> str:
    region = _DEFAULT_REGION if order.region == "auto" else order.region
    return order.endpoint or f"https://s3.{region}.amazonaws.com"

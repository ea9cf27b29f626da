"""One request to Fly: its turn, its header, its time limits, its answer or its error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Literal, TypeVar

import httpx

from flykeep import __version__
from flykeep.adapters.fly.errors import Answer, Call, error_of, unexpected, unreachable
from flykeep.adapters.fly.pacing import Pacer
from flykeep.adapters.fly.retrying import Retrying
from flykeep.adapters.fly.tokens import FlyTokens
from flykeep.adapters.trust import trusted
from flykeep.domain.errors import FlyRateLimitedError, FlyUnauthorizedError
from flykeep.ports.clock import Clock

T = TypeVar("T")

REQUEST_ID_HEADER = "fly-request-id"
_LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
_HOLD_WITHOUT_ADVICE = timedelta(seconds=1)
_LONGEST_HOLD = timedelta(seconds=60)
_MOST_CONNECTIONS = 32


class Repeat(Enum):
    """What a second effect of a request would do."""

    HARMLESS = "harmless"
    NEVER = "never"  # except where Fly refused it before the effect


@dataclass(frozen=True, slots=True)
class WireTimeouts:
    """Seconds for one step on the wire; a whole request may take twice its read time."""

    connect_s: float = 10.0
    read_s: float = 30.0
    long_read_s: float = 75.0  # exec and wait are answered after up to 60 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request; `action` and `identifier` name the bucket it is paced by."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    url: str
    authorization: str = field(repr=False)
    action: str
    identifier: str
    repeat: Repeat
    facts: Mapping[str, str | int | None] = field(default_factory=dict)
    query: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, object] | None = field(default=None, repr=False)
    is_long: bool = False
    answering_statuses: frozenset[int] = frozenset()  # refusals that answer the question, for `read` to tell apart

    @property
    def call(self) -> Call:
        return Call(action=self.action, facts=dict(self.facts))


class FlyHttp:
    """Sends requests at Fly's pace and asks again where that is right; every failure leaves as a FlyError."""

    def __init__(
        self,
        *,
        tokens: FlyTokens,
        clock: Clock,
        retrying: Retrying,
        timeouts: WireTimeouts,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._retrying = retrying
        self._timeouts = timeouts
        self._pacer = Pacer(clock)
        self._free_connections = asyncio.Semaphore(_MOST_CONNECTIONS)
        # Redirects are never followed: the token belongs to the configured hosts alone.
        self._client = httpx.AsyncClient(
            verify=trusted(),
            transport=transport,
            follow_redirects=False,
            headers={"user-agent": f"flykeep/{__version__}", "accept": "application/json"},
            limits=httpx.Limits(max_connections=_MOST_CONNECTIONS),
        )

    async def send(self, request: Request, read: Callable[[Answer], T]) -> T:
        """What `read` makes of a successful answer; raises the FlyError the last attempt ended with.

        An error `read` raises counts as the attempt's own, so a failure inside a successful answer is repeated too
        where its class allows that.
        """
        if not self._tokens.is_sendable:
            raise FlyUnauthorizedError("There is no Fly token, or it holds characters that no token has")
        is_safe = request.repeat is Repeat.HARMLESS
        return await self._retrying.call(lambda: self._attempt(request, read), is_safe=is_safe)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _attempt(self, request: Request, read: Callable[[Answer], T]) -> T:
        await self._pacer.turn(request.action, request.identifier)
        answer = await self._exchange(request)
        try:
            if not answer.is_success and answer.status not in request.answering_statuses:
                raise error_of(answer, call=request.call, tokens=self._tokens, now=self._clock.now())
            return read(answer)
        except FlyRateLimitedError as error:
            hold = min(error.retry_after or _HOLD_WITHOUT_ADVICE, _LONGEST_HOLD)
            self._pacer.hold(request.action, request.identifier, duration=hold)
            raise

    async def _exchange(self, request: Request) -> Answer:
        read_s = self._timeouts.long_read_s if request.is_long else self._timeouts.read_s
        timeout = httpx.Timeout(read_s, connect=self._timeouts.connect_s)
        try:
            # Waiting for a free connection is no fault of Fly's, so it happens before any time limit begins. httpx
            # bounds each read; an answer that trickles in for ever is bounded only by the limit on the whole.
            async with (
                self._free_connections,
                asyncio.timeout(self._timeouts.connect_s + 2 * read_s),
                self._client.stream(
                    request.method,
                    request.url,
                    params=dict(request.query) or None,
                    json=request.body,
                    headers={**request.headers, "authorization": request.authorization},
                    timeout=timeout,
                ) as response,
            ):
                return await _read(response, call=request.call)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, TimeoutError) as error:
            raise unreachable(error, call=request.call) from error


async def _read(response: httpx.Response, *, call: Call) -> Answer:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _LARGEST_ANSWER_BYTES:
            raise unexpected("is larger than any Fly documents", answer=_answer(response, b""), call=call)
    return _answer(response, bytes(content))


def _answer(response: httpx.Response, body: bytes) -> Answer:
    return Answer(
        status=response.status_code,
        body=body,
        content_type=response.headers.get("content-type", ""),
        request_id=response.headers.get(REQUEST_ID_HEADER),
        retry_after=response.headers.get("retry-after"),
    )

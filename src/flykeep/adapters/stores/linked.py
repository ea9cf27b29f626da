"""Reads objects through presigned links."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx

from flykeep.domain.errors import IntegrityError, RefusalError, StoreError, StoreNotFoundError, StoreUnavailableError
from flykeep.domain.layout import check_key
from flykeep.ports.store import StoreOrder

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_WINDOW_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 4
_PAUSE_S = 2.0
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOTAL = re.compile(r"bytes (\d+)-\d+/(\d+)")
_EXPIRED_HINT = "The link may have expired, or this machine's clock is wrong: start again, and new links are made."


class LinkedObjects:
    """Reads by links alone. A link is a key of its own kind: none appears in an error."""

    def __init__(self, order: StoreOrder, *, pause: Callable[[float], object] | None = None) -> None:
        self._pause = pause or threading.Event().wait
        self._name = order.name
        self._links: Mapping[str, str] = dict(order.links)

    def read(self, key: str) -> Iterator[bytes]:
        """The whole object in pieces of about 1 MiB; a broken connection is resumed where it broke."""
        check_key(key)
        if key not in self._links:
            raise RefusalError("there is no link to this object", facts={"store": self._name, "key": key})
        position, total, fruitless = 0, None, 0
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=False) as client:
            while total is None or position < total:
                before = position
                try:
                    with self._window(client, key, position) as (answer, total):
                        for chunk in _from(answer, position):
                            position += len(chunk)
                            yield chunk
                except httpx.TransportError as error:
                    fruitless = 0 if position > before else fruitless + 1
                    if fruitless >= _ATTEMPTS:
                        raise self._unavailable(key, type(error).__name__) from None
                else:
                    if position == before:
                        raise IntegrityError("An object ended early.", facts={"store": self._name, "key": key})

    @contextmanager
    def _window(self, client: httpx.Client, key: str, start: int) -> Iterator[tuple[httpx.Response, int]]:
        """A successful answer, and how long the whole object is."""
        ranged = {"Range": f"bytes={start}-{start + _WINDOW_BYTES - 1}", "Accept-Encoding": "identity"}
        request = client.build_request("GET", self._links[key], headers=ranged)
        answer = self._answered(client, request, key)
        try:
            yield answer, self._total(answer, key)
        finally:
            answer.close()

    def _answered(self, client: httpx.Client, request: httpx.Request, key: str) -> httpx.Response:
        """Busy servers and lost connections are tried again; an answer that will stay the same is not."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answer = client.send(request, stream=True)
            except httpx.TransportError as error:
                failure: StoreError = self._unavailable(key, type(error).__name__)
            else:
                if answer.status_code in {200, 206}:
                    return answer
                answer.close()
                failure = self._failure(key, answer.status_code)
            if attempt == _ATTEMPTS or not failure.is_retryable:
                break
            self._pause(_PAUSE_S * attempt)
        raise failure

    def _total(self, answer: httpx.Response, key: str) -> int:
        ranged = _TOTAL.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status_code == 206 and ranged is not None:
            return int(ranged.group(2))
        if answer.status_code == 200 and (length := answer.headers.get("Content-Length", "")).isdecimal():
            return int(length)
        raise StoreError("The store does not say how long an object is.", facts={"store": self._name, "key": key})

    def _failure(self, key: str, status: int) -> StoreError:
        facts = {"store": self._name, "key": key, "status": str(status)}
        if status == 404:
            return StoreNotFoundError(f"Store {self._name} does not have an object.", facts=facts)
        if status in _BUSY:
            return self._unavailable(key, f"status {status}")
        hint = _EXPIRED_HINT if status in {400, 401, 403} else None
        return StoreError(f"Store {self._name} refused a link: status {status}", hint=hint, facts=facts)

    def _unavailable(self, key: str, why: str) -> StoreUnavailableError:
        facts = {"store": self._name, "key": key}
        return StoreUnavailableError(f"Store {self._name} could not be read: {why}", facts=facts)


def _from(answer: httpx.Response, position: int) -> Iterator[bytes]:
    """The body's bytes from `position` of the object on, where the server sent all of it in answer to a part."""
    skipped = position if answer.status_code == 200 else 0
    for chunk in answer.iter_raw(_CHUNK_BYTES):
        piece = chunk[skipped:]
        skipped -= len(chunk) - len(piece)
        if piece:
            yield piece

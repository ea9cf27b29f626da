"""The Machines API's addresses: builds requests and reads their answers into wire models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter

from flykeep.adapters.fly.errors import Answer, Call, unexpected
from flykeep.adapters.fly.http import FlyHttp, Repeat, Request
from flykeep.adapters.fly.tokens import FlyTokens
from flykeep.adapters.fly.wire import WireMachine, WireMachinePage, WireVolume, WireVolumePage, parse

T = TypeVar("T")
PageT = TypeVar("PageT", WireMachinePage, WireVolumePage)
_PAGE_LIMIT = 1000


class MachinesApi:
    """Speaks to one Machines API with one token; `base_url` stands without `/v1`."""

    def __init__(self, *, http: FlyHttp, tokens: FlyTokens, base_url: str) -> None:
        self._http = http
        self._tokens = tokens
        self._base = base_url.rstrip("/") + "/v1"

    def get(
        self,
        *path: str,
        action: str,
        identifier: str,
        query: Mapping[str, str | int] | None = None,
        facts: Mapping[str, str | int | None] | None = None,
    ) -> Request:
        """A reading request; `path` parts are quoted one by one."""
        return Request(
            method="GET",
            url=self._url(path),
            authorization=self._tokens.machines_authorization(),
            action=action,
            identifier=identifier,
            repeat=Repeat.HARMLESS,
            query=query or {},
            facts=facts or {},
        )

    def post(
        self,
        *path: str,
        action: str,
        identifier: str,
        repeat: Repeat,
        body: Mapping[str, object] | None = None,
        facts: Mapping[str, str | int | None] | None = None,
    ) -> Request:
        """A writing request; `repeat` says whether it may be sent again after an unknown outcome."""
        return Request(
            method="POST",
            url=self._url(path),
            authorization=self._tokens.machines_authorization(),
            action=action,
            identifier=identifier,
            repeat=repeat,
            body=body,
            facts=facts or {},
        )

    def put(
        self,
        *path: str,
        action: str,
        identifier: str,
        repeat: Repeat,
        body: Mapping[str, object],
        facts: Mapping[str, str | int | None] | None = None,
    ) -> Request:
        """A changing request; `repeat` as for `post`."""
        asked = self.post(*path, action=action, identifier=identifier, repeat=repeat, body=body, facts=facts)
        return replace(asked, method="PUT")

    def delete(
        self,
        *path: str,
        action: str,
        identifier: str,
        query: Mapping[str, str | int] | None = None,
        facts: Mapping[str, str | int | None] | None = None,
    ) -> Request:
        """A removing request; what is gone cannot be removed twice, so it may be sent again."""
        asked = self.get(*path, action=action, identifier=identifier, query=query, facts=facts)
        return replace(asked, method="DELETE")

    async def read(self, request: Request, shape: type[T] | TypeAdapter[T]) -> T:
        return await self.send(request, lambda answer: parse(shape, answer=answer, call=request.call))

    async def send(self, request: Request, reader: Callable[[Answer], T]) -> T:
        return await self._http.send(request, reader)

    async def machine_rows(self, org: str) -> tuple[tuple[WireMachine, ...], frozenset[str]]:
        """Every machine of the organization and the regions that did not answer."""
        pages = await self._pages(WireMachinePage, org=org, what="machines")
        rows = {row.id: row for page in pages for row in page.machines}
        return tuple(rows.values()), frozenset(region for page in pages for region in page.error_regions)

    async def volume_rows(self, org: str) -> tuple[tuple[WireVolume, ...], frozenset[str]]:
        """Every volume of the organization and the regions that did not answer."""
        pages = await self._pages(WireVolumePage, org=org, what="volumes")
        rows = {row.id: row for page in pages for row in page.volumes}
        return tuple(rows.values()), frozenset(region for page in pages for region in page.error_regions)

    async def _pages(self, shape: type[PageT], *, org: str, what: str) -> list[PageT]:
        """All pages in order. Rows come by change, so one changed meanwhile stands twice: the later is right."""
        pages: list[PageT] = []
        seen: set[str] = set()
        request = self.get(
            "orgs",
            org,
            what,
            action=f"org.{what}",
            identifier=org,
            query={"limit": _PAGE_LIMIT},
            facts={"org": org},
        )
        cursor = ""
        while True:
            asked = replace(request, query={**request.query, "cursor": cursor}) if cursor else request
            page, answer = await self.send(asked, lambda got: (parse(shape, answer=got, call=request.call), got))
            _require_apps(page, answer=answer, call=request.call)
            pages.append(page)
            cursor = page.next_cursor or ""
            if not cursor:
                return pages
            if cursor in seen:
                raise unexpected("repeats a page for ever", answer=answer, call=request.call)
            seen.add(cursor)

    def _url(self, path: tuple[str, ...]) -> str:
        return "/".join((self._base, *(quote(part, safe="") for part in path)))


def _require_apps(page: WireMachinePage | WireVolumePage, *, answer: Answer, call: Call) -> None:
    rows = page.machines if isinstance(page, WireMachinePage) else page.volumes
    if not all(row.app_name for row in rows):
        raise unexpected("has rows that name no app", answer=answer, call=call)

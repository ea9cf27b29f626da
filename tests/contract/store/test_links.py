"""Objects read by presigned links alone: from real servers, and from one that answers badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.stores.linked import LinkedObjects
from flykeep.adapters.stores.links import SignedLinks, open_readable
from flykeep.adapters.stores.objects import open_bulk
from flykeep.domain.errors import (
    ConfigError,
    FlykeepError,
    IntegrityError,
    RefusalError,
    StoreError,
    StoreNotFoundError,
    StoreUnavailableError,
)
from flykeep.ports.store import StoreOrder, StoreType
from tests.object_stores import SECRET_KEY

KEY = "app/data/2026/X1/data with space.tar.zst.age"
HOUR = timedelta(hours=1)
CONTENT = bytes(range(256)) * 12_000


@pytest.fixture(params=["moto_order", "rclone_order"])
def order(request: pytest.FixtureRequest) -> StoreOrder:
    found: StoreOrder = request.getfixturevalue(request.param)
    return found


def test_an_object_is_read_without_credentials_and_another_one_not(order: StoreOrder) -> None:
    open_bulk(order).upload(KEY, iter([CONTENT]), chunk_bytes=5 << 20, concurrency=1)
    made = SignedLinks().linked(order, [KEY], valid_for=HOUR)
    assert (made.access_key_id, made.secret_access_key, made.bucket) == (None, None, None)
    assert SECRET_KEY not in str(made.links)
    assert "X-Amz" not in repr(made)
    readable = open_readable(made)
    assert b"".join(readable.read(KEY)) == CONTENT
    with pytest.raises(RefusalError, match="no link"):
        b"".join(readable.read("app/data/2026/X1/other"))
    forged = replace(made, links=((KEY, made.links[0][1].replace("data%20with", "other")),))
    with pytest.raises(StoreError) as refused:
        b"".join(open_readable(forged).read(KEY))
    assert "X-Amz" not in str(refused.value)


def test_links_hold_for_seven_days_at_most(moto_order: StoreOrder) -> None:
    made = SignedLinks().linked(moto_order, [KEY], valid_for=timedelta(days=30))
    assert "X-Amz-Expires=604800" in made.links[0][1]


def test_a_directory_needs_no_links(tmp_path: Path) -> None:
    order = StoreOrder(name="shelf", type=StoreType.DIRECTORY, path=str(tmp_path))
    assert SignedLinks().linked(order, [KEY], valid_for=HOUR) is order


def test_a_store_without_a_bucket_cannot_be_signed_for() -> None:
    with pytest.raises(ConfigError):
        SignedLinks().linked(StoreOrder(name="s", type=StoreType.S3), [KEY], valid_for=HOUR)


Answer = Callable[[int], bytes]


def part(content: bytes, start: int, *, sent: int | None = None) -> bytes:
    """A partial answer that announces all from `start` on, and breaks off after `sent` bytes."""
    rest = content[start:]
    head = f"HTTP/1.1 206 OK\r\nContent-Length: {len(rest)}\r\nContent-Range: bytes {start}-{len(content) - 1}/"
    return f"{head}{len(content)}\r\nConnection: close\r\n\r\n".encode() + rest[:sent]


def plain(status: int, body: bytes = b"", *, head: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{head}Connection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def answering(answers: Sequence[Answer]) -> AsyncIterator[LinkedObjects]:
    """A server that gives these answers in turn, each made from the first byte that was asked for."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        start = int(request.lower().split("range: bytes=")[1].split("-")[0])
        writer.write(left.pop(0)(start))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        links = ((KEY, f"http://127.0.0.1:{port}/object?signature=planted"),)
        yield LinkedObjects(StoreOrder(name="s", type=StoreType.S3, links=links), pause=lambda _: None)
        assert left == []


async def read(answers: Sequence[Answer]) -> bytes:
    async with answering(answers) as objects:
        return await asyncio.to_thread(lambda: b"".join(objects.read(KEY)))


async def test_what_breaks_off_is_resumed_where_it_broke_and_busy_servers_are_asked_again() -> None:
    answers: list[Answer] = [
        lambda start: part(CONTENT, start, sent=1000),
        lambda _: plain(503),
        lambda start: part(CONTENT, start, sent=2000),
        lambda start: part(CONTENT, start),
    ]
    assert await read(answers) == CONTENT


async def test_a_server_that_ignores_ranges_is_read_in_whole() -> None:
    answers: list[Answer] = [lambda start: part(CONTENT, start, sent=1000), lambda _: plain(200, CONTENT)]
    assert await read(answers) == CONTENT


FAILURES: dict[str, tuple[list[Answer], type[FlykeepError]]] = {
    "gone": ([lambda _: plain(404)], StoreNotFoundError),
    "expired": ([lambda _: plain(403)], StoreError),
    "strange": ([lambda _: plain(302, head="Location: http://127.0.0.1:1/\r\n")], StoreError),
    "busy for ever": ([lambda _: plain(503)] * 4, StoreUnavailableError),
    "silent": ([lambda _: b""] * 4, StoreUnavailableError),
    "never a byte": ([lambda start: part(CONTENT, start, sent=0)] * 4, StoreUnavailableError),
    "no length": ([lambda _: b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\nx"], StoreError),
    "nothing more": (
        [lambda _: b"HTTP/1.1 206 X\r\nContent-Length: 0\r\nContent-Range: bytes 0-1/2\r\n\r\n"],
        IntegrityError,
    ),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_what_cannot_be_read_is_said_without_the_link(case: str) -> None:
    answers, kind = FAILURES[case]
    with pytest.raises(kind) as failed:
        await read(answers)
    assert type(failed.value) is kind
    assert "planted" not in f"{failed.value} {failed.value.__cause__}"
    assert failed.value.facts["key"] == KEY

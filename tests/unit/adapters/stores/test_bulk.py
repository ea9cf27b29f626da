"""Bulk objects: whole or not at all, on every kind of store, whatever breaks in the middle."""

from __future__ import annotations

import itertools
import os
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flykeep.adapters.stores import durable
from flykeep.adapters.stores.objects import BulkStore, open_bulk
from flykeep.domain.errors import ConfigError, StoreError, StoreNotFoundError, StoreUnavailableError
from flykeep.ports.store import StoreOrder, StoreType
from tests.object_stores import S3Server
from tests.unit.adapters.stores.s3_stand_in import ACCESS_KEY, SECRET_KEY, StandIn

MIB = 1 << 20
PART = 5 * MIB
CONTENT = os.urandom(MIB) * 12 + b"the end"


class Stopped(BaseException):
    """What a worker's source raises when its standard input ends."""


def pieces(content: bytes = CONTENT, size: int = 700_001) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def breaking(error: BaseException, after: int = 11) -> Iterator[bytes]:
    yield from itertools.islice(itertools.repeat(bytes(MIB)), after)
    raise error


@pytest.fixture(params=["directory_order", "moto_order", "rclone_order"])
def order(request: pytest.FixtureRequest) -> StoreOrder:
    order: StoreOrder = request.getfixturevalue(request.param)
    return order


@pytest.fixture
def bulk(order: StoreOrder) -> BulkStore:
    return open_bulk(order)


def test_what_was_uploaded_is_read_back_whole_and_in_part(bulk: BulkStore) -> None:
    bulk.upload("a/b/data.tar.zst.age", pieces(), chunk_bytes=PART, concurrency=3)

    assert bulk.size_bytes("a/b/data.tar.zst.age") == len(CONTENT)
    assert b"".join(bulk.read("a/b/data.tar.zst.age")) == CONTENT
    assert bulk.read_range("a/b/data.tar.zst.age", 0, 10) == CONTENT[:10]
    assert bulk.read_range("a/b/data.tar.zst.age", 2 * MIB - 5, MIB) == CONTENT[2 * MIB - 5 : 3 * MIB - 5]
    assert bulk.read_range("a/b/data.tar.zst.age", len(CONTENT) - 3, 100) == b"end"
    assert bulk.read_range("a/b/data.tar.zst.age", len(CONTENT), 100) == b""
    assert bulk.read_range("a/b/data.tar.zst.age", 5, 0) == b""


def test_a_stream_without_bytes_is_an_empty_object(bulk: BulkStore) -> None:
    bulk.upload("empty", iter([]), chunk_bytes=PART, concurrency=2)

    assert bulk.size_bytes("empty") == 0
    assert b"".join(bulk.read("empty")) == b""


@pytest.mark.parametrize("error", [Stopped("stdin ended"), StoreError("mine"), OSError("my own"), ValueError("mine")])
def test_what_the_source_raises_comes_out_unchanged_and_nothing_is_stored(
    bulk: BulkStore, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught:
        bulk.upload("broken", breaking(error), chunk_bytes=PART, concurrency=2)

    assert caught.value is error
    with pytest.raises(StoreNotFoundError):
        bulk.size_bytes("broken")


def test_a_stopped_upload_leaves_no_parts_on_the_server(moto_server: S3Server, moto_order: StoreOrder) -> None:
    with pytest.raises(Stopped):
        open_bulk(moto_order).upload("broken", breaking(Stopped()), chunk_bytes=PART, concurrency=2)

    assert "Uploads" not in moto_server.client().list_multipart_uploads(Bucket=moto_order.bucket)


def test_a_stopped_upload_leaves_no_file_in_the_directory(directory_order: StoreOrder) -> None:
    with pytest.raises(Stopped):
        open_bulk(directory_order).upload("a/broken", breaking(Stopped()), chunk_bytes=PART, concurrency=2)

    assert [path for path in Path(str(directory_order.path)).rglob("*") if path.is_file()] == []


def test_what_is_not_there_is_not_found(bulk: BulkStore) -> None:
    for attempt in (bulk.size_bytes, lambda key: list(bulk.read(key)), lambda key: bulk.read_range(key, 0, 1)):
        with pytest.raises(StoreNotFoundError):
            attempt("none")


def test_delete_may_be_repeated(bulk: BulkStore) -> None:
    bulk.upload("k", iter([b"x"]), chunk_bytes=PART, concurrency=1)
    bulk.delete("k")
    bulk.delete("k")

    with pytest.raises(StoreNotFoundError):
        bulk.size_bytes("k")


def test_only_a_directory_says_it_is_one(bulk: BulkStore, order: StoreOrder) -> None:
    assert bulk.is_directory == (order.type is StoreType.DIRECTORY)


def test_rclone_knows_a_wrong_secret(rclone_order: StoreOrder) -> None:
    order = replace(rclone_order, secret_access_key="another-planted-secret-which-is-wrong")

    with pytest.raises(StoreError) as caught:
        open_bulk(order).upload("k", iter([b"x"]), chunk_bytes=PART, concurrency=1)

    assert not caught.value.is_retryable
    assert "credentials" in caught.value.next_step


def test_an_uploaded_file_and_its_folders_are_forced_to_the_disk(
    directory_order: StoreOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync
    monkeypatch.setattr(
        durable.os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real(fd))
    )
    root = Path(str(directory_order.path)) / directory_order.prefix

    open_bulk(directory_order).upload("app/data", pieces(), chunk_bytes=PART, concurrency=2)

    assert synced[0] == str(root / "app" / "data")
    assert {str(root / "app"), str(root), str(root.parent)} <= set(synced)


@pytest.mark.parametrize(
    "order",
    [StoreOrder(name="n", type=StoreType.S3), StoreOrder(name="n", type=StoreType.DIRECTORY)],
    ids=["no bucket", "no path"],
)
def test_an_order_that_lacks_something_is_a_config_error(order: StoreOrder) -> None:
    with pytest.raises(ConfigError):
        open_bulk(order)


def test_a_path_that_is_a_file_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(StoreError):
        open_bulk(StoreOrder(name="n", type=StoreType.DIRECTORY, path=str(tmp_path / "file"))).upload(
            "k", iter([b"x"]), chunk_bytes=PART, concurrency=1
        )


# faults


@pytest.mark.parametrize("fault", [503, "close"])
def test_a_part_that_fails_once_is_sent_again(server: StandIn, fault: str | int) -> None:
    failures = iter([fault])
    server.fault = lambda method, path: next(failures, None) if "partNumber=2" in path else None

    open_bulk(server.order()).upload("k", pieces(), chunk_bytes=PART, concurrency=2)

    assert server.objects["/b/fly/k"] == CONTENT


@pytest.mark.parametrize("fault", [503, "close", 403])
def test_a_store_that_breaks_in_mid_upload_aborts_it_and_leaves_no_object(server: StandIn, fault: str | int) -> None:
    server.fault = lambda method, path: fault if method == "PUT" and "partNumber=2" in path else None

    with pytest.raises(StoreError) as caught:
        BulkStore(server.order(), retries=1).upload("k", pieces(), chunk_bytes=PART, concurrency=2)

    assert caught.value.is_retryable == (fault != 403)
    assert server.objects == {}
    assert server.uploads == {}
    assert server.seen("DELETE", "uploadId=") == 1


def test_an_upload_whose_end_is_refused_is_an_error(server: StandIn) -> None:
    server.fault = lambda method, path: 503 if method == "POST" and "uploadId=" in path else None

    with pytest.raises(StoreUnavailableError):
        BulkStore(server.order(), retries=0).upload("k", pieces(), chunk_bytes=PART, concurrency=2)

    assert server.objects == {}


def test_a_download_that_breaks_is_resumed_where_it_broke(server: StandIn) -> None:
    server.objects["/b/fly/k"] = CONTENT
    faults = iter(["cut", "cut"])
    server.fault = lambda method, path: next(faults, None) if method == "GET" else None

    assert b"".join(open_bulk(server.order()).read("k")) == CONTENT
    assert server.seen("GET", "/k") >= 3


def test_a_download_that_keeps_breaking_is_given_up(server: StandIn) -> None:
    server.objects["/b/fly/k"] = CONTENT
    server.fault = lambda method, path: "close" if method == "GET" else None

    with pytest.raises(StoreUnavailableError):
        list(BulkStore(server.order(), retries=0).read("k"))


def test_a_server_that_ignores_ranges_is_read_whole(server: StandIn) -> None:
    server.objects["/b/fly/k"] = CONTENT
    server.ignores_ranges = True
    bulk = open_bulk(server.order())

    assert b"".join(bulk.read("k")) == CONTENT
    assert bulk.read_range("k", MIB - 1, 3 * MIB) == CONTENT[MIB - 1 : 4 * MIB - 1]


@pytest.mark.parametrize("status", [400, 401, 403, 409, 412, 429, 500, 501, 503])
def test_no_secret_is_in_any_error_of_the_store(server: StandIn, status: int) -> None:
    server.fault = lambda method, path: status
    bulk = BulkStore(server.order(), retries=0)

    for attempt in (
        lambda: bulk.upload("k", iter([b"x"]), chunk_bytes=PART, concurrency=1),
        lambda: bulk.size_bytes("k"),
        lambda: list(bulk.read("k")),
        lambda: bulk.delete("k"),
    ):
        with pytest.raises(StoreError) as caught:
            attempt()
        words = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(bulk)
        assert SECRET_KEY not in words
        assert ACCESS_KEY not in words

"""Small objects: what the contract cannot ask of a healthy server. Faults, time limits, odd servers, retries."""

from __future__ import annotations

import traceback
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.adapters.stores.retrying import RetryingStore
from flykeep.domain.errors import (
    StoreError,
    StoreNotFoundError,
    StorePreconditionError,
    StoreUnavailableError,
)
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.testing.clock import JumpingClock
from flykeep.testing.stores import MemoryStore
from tests.unit.adapters.stores.s3_stand_in import ACCESS_KEY, SECRET_KEY, StandIn


class Ids:
    def run_id(self) -> str:
        return "0" * 26

    def token(self) -> str:
        return "0" * 32

    def jitter(self) -> float:
        return 0.0


def retrying(store: MemoryStore | ObjectStore, clock: JumpingClock | None = None) -> RetryingStore:
    return RetryingStore(store, clock=clock or JumpingClock(), ids=Ids())


LOST = StoreUnavailableError("the answer was lost")


@pytest.mark.parametrize(
    ("fault", "error", "is_retryable"),
    [
        (403, StoreError, False),
        (401, StoreError, False),
        (400, StoreError, False),
        (429, StoreUnavailableError, True),
        (500, StoreUnavailableError, True),
        (503, StoreUnavailableError, True),
        ("close", StoreUnavailableError, True),
    ],
)
async def test_each_failure_of_a_server_has_its_class_and_shows_no_secret(
    server: StandIn, fault: str | int, error: type[StoreError], is_retryable: bool
) -> None:
    server.fault = lambda method, path: fault
    store = ObjectStore(server.order())

    for attempt in (store.put("k", b"x"), store.put_new("k", b"x"), store.get("k"), store.head("k"), store.list("")):
        with pytest.raises(error) as caught:
            await attempt
        assert caught.value.is_retryable is is_retryable
        words = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(store)
        assert SECRET_KEY not in words
        assert ACCESS_KEY not in words


async def test_a_server_that_does_not_listen_is_unavailable(server: StandIn) -> None:
    store = ObjectStore(server.order(endpoint="http://127.0.0.1:1"))

    with pytest.raises(StoreUnavailableError):
        await store.get("k")


async def test_a_server_that_never_answers_is_given_up(server: StandIn) -> None:
    server.fault = lambda method, path: "hang"
    store = ObjectStore(server.order(), request_timeout=timedelta(milliseconds=50))

    with pytest.raises(StoreUnavailableError):
        await store.get("k")


async def test_a_call_ends_with_its_own_limit_too(server: StandIn) -> None:
    server.fault = lambda method, path: "hang"
    limit = timedelta(milliseconds=30)
    store = ObjectStore(server.order(), request_timeout=timedelta(seconds=20), call_timeout=limit)

    with pytest.raises(StoreUnavailableError, match=r"within 0\.03 s"):
        await store.get("k")
    server.released.set()


async def test_an_answer_cut_short_is_no_content(server: StandIn) -> None:
    server.objects["/b/fly/k"] = b"x" * 100_000
    server.fault = lambda method, path: "cut"

    with pytest.raises(StoreUnavailableError):
        await ObjectStore(server.order(), request_timeout=timedelta(seconds=2)).get("k")


async def test_a_server_that_refuses_conditions_still_gets_the_object(server: StandIn) -> None:
    answers = iter([None, 501])
    server.fault = lambda method, path: next(answers, None)
    store = ObjectStore(server.order())

    await store.put_new("k", b"x")

    assert server.objects["/b/fly/k"] == b"x"
    with pytest.raises(StorePreconditionError):
        await store.put_new("k", b"y")


async def test_what_the_server_does_to_a_second_create_is_learned_once(server: StandIn) -> None:
    store = ObjectStore(server.order())
    assert store.is_create_atomic is None

    await store.put_new("k", b"x")
    assert store.is_create_atomic is True
    before = len(server.requests)
    await store.put_new("l", b"y")

    assert [method for method, _ in server.requests[before:]] == ["PUT"]  # neither looked before nor read after
    with pytest.raises(StorePreconditionError):
        await store.put_new("l", b"z")
    assert server.objects["/b/fly/l"] == b"y"


@pytest.mark.parametrize("lack", ["ignores", "refuses"])
async def test_on_a_server_without_conditions_every_create_looks_and_reads_back(server: StandIn, lack: str) -> None:
    server.ignores_conditions = lack == "ignores"
    server.refuses_conditions = lack == "refuses"
    store = ObjectStore(server.order())
    for key in ("k", "l"):
        await store.put_new(key, b"x")
        with pytest.raises(StorePreconditionError):
            await store.put_new(key, b"y")

    assert store.is_create_atomic is False
    assert [server.objects[f"/b/fly/{key}"] for key in ("k", "l")] == [b"x", b"x"]
    assert server.seen("HEAD", "/l") == 2
    assert server.seen("GET", "/l") == 1


async def test_a_store_that_breaks_while_it_is_learned_about_has_the_object_and_is_asked_again(server: StandIn) -> None:
    puts = iter([None, 503])
    server.fault = lambda method, path: next(puts, None) if method == "PUT" else None
    store = ObjectStore(server.order())

    await store.put_new("k", b"x")
    assert (store.is_create_atomic, server.objects["/b/fly/k"]) == (None, b"x")
    await store.put_new("l", b"x")

    assert store.is_create_atomic is True


async def test_a_writer_that_was_overtaken_on_a_lax_server_learns_it(server: StandIn) -> None:
    server.ignores_conditions = True

    def overtake(method: str, path: str) -> None:
        if method == "GET":
            server.objects["/b/fly/k"] = b"the other's"

    server.fault = overtake

    with pytest.raises(StorePreconditionError):
        await ObjectStore(server.order()).put_new("k", b"ours")


async def test_a_bucket_that_is_not_there_is_not_a_missing_object(moto_order: StoreOrder) -> None:
    order = replace(moto_order, bucket="no-such-bucket")

    with pytest.raises(StoreError, match="NoSuchBucket") as caught:
        await ObjectStore(order).get("k")

    assert not isinstance(caught.value, StoreNotFoundError)


async def test_two_prefixes_of_one_bucket_do_not_see_each_other(tmp_path: Path) -> None:
    one, two = (
        ObjectStore(StoreOrder(name="d", type=StoreType.DIRECTORY, path=str(tmp_path), prefix=prefix))
        for prefix in ("a", "/b/c/")
    )
    await one.put("k", b"1")
    await two.put("k", b"2")

    assert [await one.get("k"), await two.get("k")] == [b"1", b"2"]
    assert files_under(tmp_path) == ["a/k", "b/c/k"]


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_a_retryable_failure_is_tried_again_after_growing_pauses() -> None:
    store, clock = MemoryStore(), JumpingClock()
    store.fail_with(LOST, LOST, LOST)

    await retrying(store, clock).put("k", b"x")

    assert await store.get("k") == b"x"
    assert clock.monotonic() == 1 + 2 + 4


async def test_after_four_attempts_the_last_failure_stands() -> None:
    store = MemoryStore()
    store.fail_with(LOST, LOST, LOST, LOST)

    with pytest.raises(StoreUnavailableError):
        await retrying(store).get("k")

    with pytest.raises(StoreNotFoundError):
        await store.get("k")


async def test_a_failure_that_time_cannot_heal_is_not_tried_again() -> None:
    store, clock = MemoryStore(), JumpingClock()
    store.fail_with(StoreError("forbidden"))

    with pytest.raises(StoreError, match="forbidden"):
        await retrying(store, clock).delete("k")

    assert clock.monotonic() == 0


class LosesAnswers(MemoryStore):
    """Writes, then loses the first answer."""

    def __init__(self) -> None:
        super().__init__()
        self.is_first = True

    async def put_new(self, key: str, data: bytes) -> None:
        await super().put_new(key, data)
        if self.is_first:
            self.is_first = False
            raise LOST


async def test_a_create_whose_answer_was_lost_is_settled_by_looking() -> None:
    store = LosesAnswers()

    await retrying(store).put_new("k", b"ours")

    assert await store.get("k") == b"ours"


async def test_a_create_that_lost_to_another_is_still_refused() -> None:
    store = MemoryStore()
    await store.put("k", b"theirs")
    store.fail_with(LOST)

    with pytest.raises(StorePreconditionError):
        await retrying(store).put_new("k", b"ours")


async def test_the_same_bytes_of_another_are_refused_on_the_first_attempt() -> None:
    store = MemoryStore()
    await store.put("k", b"same")

    with pytest.raises(StorePreconditionError):
        await retrying(store).put_new("k", b"same")

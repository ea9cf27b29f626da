"""The trial of a store with bulk data: noise in parts, read back whole and across parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flykeep.domain.errors import IntegrityError
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.ports.store_trial import TrialOrder
from flykeep.worker.channel import Flow, StoppedError
from flykeep.worker.trial import _noise, _slice, try_store
from tests.unit.adapters.stores.s3_stand_in import StandIn, stand_in

MIB = 1 << 20


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as world:
        yield world


def order(store: StoreOrder, *, size: int = 11 * MIB + 5) -> TrialOrder:
    return TrialOrder(store, "_doctor/x/bulk", size, 5 * MIB, deadline_s=60)


def test_noise_comes_back_from_a_server_and_from_a_folder(server: StandIn, tmp_path: Path) -> None:
    folder = StoreOrder(name="d", type=StoreType.DIRECTORY, path=str(tmp_path))
    results = [try_store(order(store), flow=Flow()) for store in (server.order(), folder)]

    assert {(result.parts, result.are_ranges_honoured) for result in results} == {(3, True)}
    assert len(server.objects["/b/fly/_doctor/x/bulk"]) == 11 * MIB + 5
    assert results[0].sha256 == results[1].sha256


def test_a_server_that_ignores_ranges_is_known(server: StandIn) -> None:
    server.ignores_ranges = True

    assert not try_store(order(server.order()), flow=Flow()).are_ranges_honoured


@pytest.mark.parametrize(("at", "words"), [(5 * MIB, "across two parts"), (11 * MIB, "other bytes than")])
def test_a_flipped_bit_is_found_wherever_it_is(server: StandIn, at: int, words: str) -> None:
    whole = b"".join(_noise(order(server.order())))

    def rot(method: str, path: str) -> None:
        if method == "GET":
            rotten = bytearray(server.objects[path])
            rotten[at] = whole[at] ^ 1
            server.objects[path] = bytes(rotten)

    server.fault = rot
    with pytest.raises(IntegrityError, match=words):
        try_store(order(server.order()), flow=Flow())


def test_a_trial_that_is_stopped_leaves_no_object(server: StandIn) -> None:
    flow = Flow()
    flow.fail(KeyboardInterrupt())

    with pytest.raises(StoppedError):
        try_store(order(server.order()), flow=flow)

    assert (server.objects, server.uploads) == ({}, {})


@pytest.mark.parametrize(("start", "length"), [(0, 1), (MIB - 1, 2), (3 * MIB - 7, MIB + 20), (11 * MIB, 5)])
def test_a_slice_of_the_noise_is_that_slice(server: StandIn, start: int, length: int) -> None:
    made = order(server.order())

    assert _slice(made, start, length) == b"".join(_noise(made))[start : start + length]

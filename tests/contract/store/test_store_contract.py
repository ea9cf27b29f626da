"""Every store keeps the port's promises: in memory, a directory, moto, rclone, and each behind the retries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

import pytest

from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.adapters.stores.retrying import RetryingStore
from flykeep.adapters.system import SystemClock, SystemIds
from flykeep.ports.store import Store, StoreOrder
from flykeep.testing.contracts.store import ATOMIC_CREATE, StoreContract
from flykeep.testing.stores import MemoryStore
from tests.contract.store.abilities import CREATE_ONLY, LIMITS


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestDirectory(StoreContract):
    @pytest.fixture
    def store(self, directory_order: StoreOrder) -> Store:
        return ObjectStore(directory_order)


class TestMoto(StoreContract):
    @pytest.fixture
    def store(self, moto_order: StoreOrder) -> Store:
        return ObjectStore(moto_order)

    async def test_a_listing_longer_than_one_answer_is_whole(self, store: Store) -> None:
        async with asyncio.TaskGroup() as writers:
            for number in range(1005):
                writers.create_task(store.put(f"many/{number:04d}", b""))

        assert [each.key for each in await store.list("many/")] == [f"many/{number:04d}" for number in range(1005)]


class TestRclone(StoreContract):
    unable: ClassVar[Mapping[str, str]] = {ATOMIC_CREATE: LIMITS["rclone"][CREATE_ONLY]}

    @pytest.fixture
    def store(self, rclone_order: StoreOrder) -> Store:
        return ObjectStore(rclone_order)


class TestRetrying(StoreContract):
    @pytest.fixture
    def store(self, directory_order: StoreOrder) -> Store:
        return RetryingStore(ObjectStore(directory_order), clock=SystemClock(), ids=SystemIds())

"""Every implementation of ports.bucket.Buckets: in memory, and the program on both servers, once in its child."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from flykeep.adapters.stores.bucket_child import BucketChild
from flykeep.ports.bucket import Buckets
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.testing.buckets import MemoryBuckets
from flykeep.testing.contracts.bucket import Begin, BucketContract
from tests.bucket_threads import ThreadBuckets
from tests.object_stores import S3Server

PART = b"x" * (5 << 20)


class TestMemory(BucketContract):
    @pytest.fixture
    def order(self) -> StoreOrder:
        return StoreOrder(name="s", type=StoreType.S3, bucket="b", prefix="fly")

    @pytest.fixture
    def buckets(self) -> MemoryBuckets:
        return MemoryBuckets()

    @pytest.fixture
    def begin(self, buckets: MemoryBuckets) -> Begin:
        return partial(buckets.begin, "b")


class TestMoto(BucketContract):
    @pytest.fixture
    def order(self, moto_order: StoreOrder) -> StoreOrder:
        return moto_order

    @pytest.fixture
    def begin(self, moto_server: S3Server, order: StoreOrder) -> Begin:
        return partial(begun, moto_server.client(), order.bucket)

    @pytest.fixture
    def buckets(self) -> Buckets:
        return BucketChild()


class TestRclone(BucketContract):
    @pytest.fixture
    def order(self, rclone_order: StoreOrder) -> StoreOrder:
        return rclone_order

    @pytest.fixture
    def begin(self, rclone_server: S3Server, order: StoreOrder) -> Begin:
        return partial(begun, rclone_server.client(), order.bucket)

    @pytest.fixture
    def buckets(self) -> Buckets:
        return ThreadBuckets()


def begun(client: Any, bucket: str, key: str) -> str:
    upload_id: str = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=1, Body=PART)
    return upload_id

"""What the store is asked to do to each object: encryption, storage class, and checksums where writes are locked."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.adapters.stores.objects import open_bulk
from flykeep.ports.store import StoreOrder
from tests.object_stores import S3Server
from tests.unit.adapters.stores.s3_stand_in import StandIn

PART = 5 << 20
PREFIX = "app/volume/2026/01k"
DATA, INDEX, MANIFEST = (f"{PREFIX}/{name}" for name in ("data.tar.zst.age", "index.jsonl.zst.age", "manifest.json"))


async def written(order: StoreOrder, server: S3Server) -> dict[str, Mapping[str, Any]]:
    """What the server says of an artifact that was stored as a worker and the daemon store it."""
    bulk = open_bulk(order)
    for key in (DATA, f"{DATA}.00002", INDEX):
        bulk.upload(key, iter([b"x" * PART, b"end"]), chunk_bytes=PART, concurrency=2)
    await ObjectStore(order).put_new(MANIFEST, b"{}")
    await ObjectStore(order).put(f"{MANIFEST}.other", b"{}")
    client = server.client()
    keys = [each["Key"] for each in client.list_objects_v2(Bucket=order.bucket)["Contents"]]
    return {key.removeprefix("fly/"): client.head_object(Bucket=order.bucket, Key=key) for key in keys}


@pytest.mark.parametrize(("kind", "key_id"), [("AES256", None), ("aws:kms", "arn:aws:kms:us-east-1:1:key/k")])
async def test_every_object_is_encrypted_by_the_store_as_configured(
    moto_server: S3Server, moto_order: StoreOrder, kind: str, key_id: str | None
) -> None:
    order = replace(moto_order, server_side_encryption=kind, kms_key_id=key_id)

    heads = await written(order, moto_server)

    assert len(heads) == 5
    assert {(head["ServerSideEncryption"], head.get("SSEKMSKeyId")) for head in heads.values()} == {(kind, key_id)}


async def test_only_data_goes_to_the_storage_class(moto_server: S3Server, moto_order: StoreOrder) -> None:
    heads = await written(replace(moto_order, data_storage_class="STANDARD_IA"), moto_server)

    assert {key for key, head in heads.items() if head.get("StorageClass") == "STANDARD_IA"} == {DATA, f"{DATA}.00002"}


async def test_without_settings_the_bucket_s_own_defaults_stand(server: StandIn) -> None:
    await ObjectStore(server.order()).put("k", b"x")
    open_bulk(server.order()).upload(DATA, iter([b"x" * PART, b"end"]), chunk_bytes=PART, concurrency=1)

    sent = {name for headers in server.headers for name in headers}
    assert not {name for name in sent if "encryption" in name or "storage-class" in name or "lock" in name}
    assert "x-amz-checksum-sha256" not in sent


async def test_where_writes_are_locked_each_carries_its_checksum_and_no_lock_of_its_own(server: StandIn) -> None:
    order = server.order(is_locking=True)
    await ObjectStore(order).put_new("k", b"small")
    open_bulk(order).upload(DATA, iter([b"x" * PART, b"end"]), chunk_bytes=PART, concurrency=1)

    sent = [
        headers.get("x-amz-checksum-sha256")
        for (method, _), headers in zip(server.requests, server.headers, strict=True)
        if method == "PUT"
    ]
    small = [sha256(b"small")] * 2  # the first create of a process is repeated, to see it refused
    assert sent == [*small, sha256(b"x" * PART), sha256(b"end")]
    assert not [name for headers in server.headers for name in headers if "object-lock" in name]


async def test_a_locking_bucket_takes_what_is_written_and_keeps_it(moto_server: S3Server) -> None:
    order = replace(moto_server.order(name="moto"), bucket=moto_server.new_locking_bucket(), is_locking=True)

    heads = await written(order, moto_server)

    assert len(heads) == 5
    assert heads[MANIFEST]["ObjectLockMode"] == "GOVERNANCE"  # moto locks no multipart upload: see its LIMITS


def sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()

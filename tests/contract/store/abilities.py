"""What the S3 servers of these tests can do, tried over the wire, and what each of them cannot, with the reason.

A limit is asserted too: a server that has learned something fails the test until its line here is removed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any

import obstore
from botocore.exceptions import ClientError
from obstore.exceptions import AlreadyExistsError, BaseError

from flykeep.adapters.stores.objects import open_bulk
from flykeep.adapters.stores.opening import open_store
from tests.object_stores import S3Server

_PART = b"x" * (5 << 20)
_OTHER_SHA256 = base64.b64encode(hashlib.sha256(b"other bytes").digest()).decode()

CREATE_ONLY = "create an object only where none is"
CHECKED_BODY = "refuse a body that differs from its checksum"
LOCKED_PARTS = "lock by default retention what came in parts"


def _creates_only(server: S3Server) -> bool:
    store = open_store(server.order(name="s"), request_timeout=timedelta(seconds=10), retries=0)
    obstore.put(store, "k", b"first", mode="create")
    try:
        obstore.put(store, "k", b"second", mode="create")
    except AlreadyExistsError:
        return obstore.get(store, "k").bytes() == b"first"
    return False


def _completes_only(server: S3Server) -> bool:
    client, bucket = server.client(), server.new_bucket()
    client.put_object(Bucket=bucket, Key="k", Body=b"first")
    with _upload(client, bucket) as (upload_id, etag):
        try:
            client.complete_multipart_upload(
                Bucket=bucket,
                Key="k",
                UploadId=upload_id,
                MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
                IfNoneMatch="*",
            )
        except ClientError as error:
            return _status(error) == 412
    return False


def _answers_ranges(server: S3Server) -> bool:
    bulk = open_bulk(server.order(name="s"))
    bulk.upload("k", iter([b"0123456789"]), chunk_bytes=len(_PART), concurrency=1)
    return bulk.honours_ranges("k")


def _checks_signatures(server: S3Server) -> bool:
    order = replace(server.order(name="s"), secret_access_key="another-secret-which-is-wrong")
    store = open_store(order, request_timeout=timedelta(seconds=10), retries=0)
    try:
        obstore.put(store, "k", b"x")
    except BaseError:
        return True
    return False


def _checks_checksums(server: S3Server) -> bool:
    client, bucket = server.client(), server.new_bucket()
    try:
        client.put_object(Bucket=bucket, Key="k", Body=b"these bytes", ChecksumSHA256=_OTHER_SHA256)
    except ClientError:
        return True
    return False


def _lists_uploads(server: S3Server) -> bool:
    client, bucket = server.client(), server.new_bucket()
    with _upload(client, bucket) as (upload_id, _):
        found = client.list_multipart_uploads(Bucket=bucket, Prefix="k").get("Uploads", [])
        return [(each["Key"], each["UploadId"]) for each in found] == [("k", upload_id)]


def _dates_uploads(server: S3Server) -> bool:
    client, bucket = server.client(), server.new_bucket()
    with _upload(client, bucket):
        begun_at: datetime = client.list_multipart_uploads(Bucket=bucket, Prefix="k")["Uploads"][0]["Initiated"]
    return abs(datetime.now(UTC) - begun_at) < timedelta(hours=1)


def _aborts_uploads(server: S3Server) -> bool:
    client, bucket = server.client(), server.new_bucket()
    with _upload(client, bucket) as (upload_id, _):
        client.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload_id)
        try:
            client.list_parts(Bucket=bucket, Key="k", UploadId=upload_id)
        except ClientError as error:
            return _status(error) == 404
    return False


def _has_abort_rules(server: S3Server) -> bool:
    client, bucket = server.client(), server.new_bucket()
    rule = {
        "ID": "abort",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    try:
        client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
        found = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except ClientError:
        return False
    return [each.get("AbortIncompleteMultipartUpload") for each in found] == [{"DaysAfterInitiation": 7}]


def _locks_by_default(server: S3Server) -> bool:
    client = server.client()
    try:
        bucket = server.new_locking_bucket()
        version = client.put_object(Bucket=bucket, Key="k", Body=b"x")["VersionId"]
        client.delete_object(Bucket=bucket, Key="k", VersionId=version)
    except ClientError as error:
        return _status(error) == 403
    except KeyError:
        return False
    return False


def _locks_what_came_in_parts(server: S3Server) -> bool:
    try:
        order = replace(server.order(name="s"), bucket=server.new_locking_bucket(), is_locking=True)
    except ClientError:
        return False
    open_bulk(order).upload("k", iter([_PART, _PART]), chunk_bytes=len(_PART), concurrency=2)
    return "ObjectLockMode" in _head(server, order.bucket)


def _encrypts(server: S3Server) -> bool:
    order = replace(server.order(name="s"), server_side_encryption="AES256")
    open_bulk(order).upload("k", iter([_PART, _PART]), chunk_bytes=len(_PART), concurrency=2)
    return bool(_head(server, order.bucket).get("ServerSideEncryption") == "AES256")


def _keeps_storage_classes(server: S3Server) -> bool:
    client, bucket = server.client(), server.new_bucket()
    client.put_object(Bucket=bucket, Key="fly/k", Body=b"x", StorageClass="STANDARD_IA")
    return bool(_head(server, bucket).get("StorageClass") == "STANDARD_IA")


def _tells_the_time(server: S3Server) -> bool:
    answer = server.client().list_buckets()["ResponseMetadata"]["HTTPHeaders"]
    return "date" in answer and parsedate_to_datetime(answer["date"]).year >= 2024


def _asks_for_a_long_page(server: S3Server) -> bool:
    client, bucket = server.client(), server.new_bucket()
    for number in range(3):
        client.put_object(Bucket=bucket, Key=f"k{number}", Body=b"")
    page = client.list_objects_v2(Bucket=bucket, MaxKeys=2)
    return len(page["Contents"]) == 2 and bool(page["IsTruncated"])


ABILITIES: Mapping[str, Callable[[S3Server], bool]] = MappingProxyType(
    {
        CREATE_ONLY: _creates_only,
        "complete a multipart upload only where no object is": _completes_only,
        "answer a range with that range": _answers_ranges,
        "refuse a wrong signature": _checks_signatures,
        CHECKED_BODY: _checks_checksums,
        "list unfinished uploads": _lists_uploads,
        "say when an upload was begun": _dates_uploads,
        "abort an unfinished upload": _aborts_uploads,
        "hold a rule that aborts unfinished uploads": _has_abort_rules,
        "lock objects by the bucket's default retention": _locks_by_default,
        LOCKED_PARTS: _locks_what_came_in_parts,
        "say by which key it encrypts, as asked": _encrypts,
        "say the storage class it was given": _keeps_storage_classes,
        "say what time it is": _tells_the_time,
        "list in pages": _asks_for_a_long_page,
    }
)

LIMITS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "moto": {
            "refuse a wrong signature": "it reads no signature; rclone does",
            CHECKED_BODY: "it stores the header unread",
            "say when an upload was begun": "each of them was begun in 2010",
            LOCKED_PARTS: "it applies default retention to single writes alone",
        },
        "rclone": {
            CREATE_ONLY: "it ignores If-None-Match",
            "complete a multipart upload only where no object is": "it ignores If-None-Match",
            "answer a range with that range": "it answers 200 with the whole object",
            CHECKED_BODY: "it ignores checksum headers",
            LOCKED_PARTS: "it has neither versions nor locks",
            "hold a rule that aborts unfinished uploads": "it has no lifecycle rules",
            "lock objects by the bucket's default retention": "it has neither versions nor locks",
        },
    }
)


@contextmanager
def _upload(client: Any, bucket: str) -> Iterator[tuple[str, str]]:
    """One part of an upload that nobody has finished: its id, and the part's tag."""
    upload_id = client.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = client.upload_part(Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=1, Body=_PART)
    yield upload_id, part["ETag"]


def _head(server: S3Server, bucket: str | None) -> Mapping[str, Any]:
    head: Mapping[str, Any] = server.client().head_object(Bucket=bucket, Key="fly/k")
    return head


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])

"""A program of its own that asks a bucket what the library of the byte path cannot: `python -m` this module.

One question as a line on standard input, one answer on standard output. boto3 lives and dies with this process: in the
daemon it would cost as much memory as all the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from flykeep.adapters.stores.bucket_wire import BucketAnswer, BucketQuestion, Refused, decode_question, encode
from flykeep.ports.bucket import BucketRules, Told, Upload
from flykeep.ports.store import StoreOrder

_DEFAULT_REGION = "us-east-1"
_NO_RULES = frozenset({"NoSuchLifecycleConfiguration"})
_NO_LOCK = frozenset({"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"})
_GONE = frozenset({"NoSuchUpload"})
_DENIED = frozenset({401, 403})
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


def main() -> None:
    question = decode_question(sys.stdin.buffer.readline())
    sys.stdout.buffer.write(encode(answer(question)))


def answer(question: BucketQuestion) -> BucketAnswer:
    bucket = _Bucket(question.store)
    try:
        if question.kind == "uploads":
            return BucketAnswer(uploads=bucket.uploads())
        if question.kind == "abort":
            for upload in question.uploads:
                bucket.abort(upload)
            return BucketAnswer()
        return BucketAnswer(rules=bucket.rules(question.key))
    except (ClientError, BotoCoreError) as error:
        return BucketAnswer(refused=_refused(question.store, error))


class _Bucket:
    def __init__(self, order: StoreOrder) -> None:
        self._client = _client(order)
        self._bucket = str(order.bucket)
        prefix = order.prefix.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""

    def uploads(self) -> tuple[Upload, ...]:
        """A bucket that never had one may say that there is no such thing. Source: rclone serve s3 1.75."""
        try:
            return tuple(self._uploads())
        except ClientError as error:
            if _code(error) in _GONE:
                return ()
            raise

    def _uploads(self) -> Iterator[Upload]:
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            for found in page.get("Uploads", ()):
                if found["Key"].startswith(self._prefix):  # a server may not know the parameter
                    yield Upload(found["Key"].removeprefix(self._prefix), found["UploadId"], found["Initiated"])

    def abort(self, upload: Upload) -> None:
        try:
            self._client.abort_multipart_upload(
                Bucket=self._bucket, Key=self._prefix + upload.key, UploadId=upload.upload_id
            )
        except ClientError as error:
            if _code(error) not in _GONE:
                raise

    def rules(self, key: str) -> BucketRules:
        return BucketRules(
            abort=_told(self._abort_rule, missing=_NO_RULES),
            retention=_told(self._retention, missing=_NO_LOCK),
            locked_until=_told(lambda: self._locked_until(key)),
            versioning=_told(self._versioning),
        )

    def _abort_rule(self) -> str | None:
        rules = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)["Rules"]
        days = [
            rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
            for rule in rules
            if rule["Status"] == "Enabled" and "AbortIncompleteMultipartUpload" in rule and self._is_covered(rule)
        ]
        return f"after {min(days)} days" if days else None

    def _is_covered(self, rule: dict[str, Any]) -> bool:
        """Whether the rule is for everything that flykeep writes; one that picks by tag or size is for less."""
        only = rule.get("Filter", {})
        if set(only) - {"Prefix"}:
            return False
        return self._prefix.startswith(only.get("Prefix", rule.get("Prefix", "")))

    def _retention(self) -> str | None:
        found = self._client.get_object_lock_configuration(Bucket=self._bucket)["ObjectLockConfiguration"]
        default = found.get("Rule", {}).get("DefaultRetention")
        if default is None:
            return None
        period = f"{default['Years']} years" if default.get("Years") else f"{default['Days']} days"
        return f"{default['Mode'].lower()}, {period}"

    def _versioning(self) -> str | None:
        status = self._client.get_bucket_versioning(Bucket=self._bucket).get("Status")
        return "enabled" if status == "Enabled" else None

    def _locked_until(self, key: str) -> str | None:
        head = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        until = head.get("ObjectLockRetainUntilDate")
        return None if until is None else f"{until:%Y-%m-%d %H:%M} UTC"


def _client(order: StoreOrder) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=_endpoint(order),
        region_name=_DEFAULT_REGION if order.region == "auto" and not order.endpoint else order.region,
        aws_access_key_id=order.access_key_id,
        aws_secret_access_key=order.secret_access_key,
        config=Config(
            s3={"addressing_style": "path" if order.is_path_style else "virtual"},
            connect_timeout=10,
            read_timeout=30,
            retries={"total_max_attempts": 4, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _endpoint(order: StoreOrder) -> str | None:
    """Without the bucket in its host, which this library puts there by itself."""
    if order.endpoint is None:
        return None
    parts = urlsplit(order.endpoint)
    return urlunsplit(parts._replace(netloc=parts.netloc.removeprefix(f"{order.bucket}.")))


def _told(ask: Callable[[], str | None], *, missing: frozenset[str] = frozenset()) -> Told:
    """The server may not know the question, and the key may not be allowed to ask it: neither is an answer.

    Source: rclone serve s3 1.75 answers a question it does not know with a listing of the bucket.
    """
    try:
        return Told(ask())
    except KeyError:
        return Told(why_unknown="the store answered another question")
    except ClientError as error:
        if _code(error) in missing:
            return Told()
        return Told(why_unknown=f"the store answered {_status(error)} {_code(error)}")


def _refused(order: StoreOrder, error: ClientError | BotoCoreError) -> Refused:
    facts = {"store": order.name}
    if not isinstance(error, ClientError):  # its words may hold an address with credentials
        return Refused(f"Store {order.name} did not answer ({type(error).__name__}).", is_retryable=True, facts=facts)
    status = _status(error)
    return Refused(
        f"Store {order.name} refused {error.operation_name}: {status} {_code(error)}",
        hint="Allow this key to do that in the bucket." if status in _DENIED else None,
        is_retryable=status in _BUSY,
        facts=facts | {"status": str(status)},
    )


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


if __name__ == "__main__":
    main()

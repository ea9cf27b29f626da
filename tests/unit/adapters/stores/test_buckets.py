"""What is asked of a bucket beyond its objects, by the real program in a child, on both servers."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from flykeep.adapters.stores import bucket_program
from flykeep.adapters.stores.bucket_child import BucketChild
from flykeep.adapters.stores.bucket_wire import BucketQuestion, decode_answer
from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.domain.errors import StoreError, StoreToolMissingError, StoreUnavailableError
from flykeep.ports.bucket import Told, Upload
from flykeep.ports.store import StoreOrder, StoreType
from tests.bucket_threads import ThreadBuckets
from tests.full import full
from tests.object_stores import S3Server
from tests.unit.adapters.stores.s3_stand_in import ACCESS_KEY, SECRET_KEY, StandIn

PART = b"x" * (5 << 20)
NO_UPLOAD = Upload("k", "none", datetime(2026, 1, 1, tzinfo=UTC))


@full("a server of Python takes seconds for a thousand uploads")
async def test_a_long_list_of_uploads_is_read_to_its_end(moto_server: S3Server, moto_order: StoreOrder) -> None:
    client = moto_server.client()
    for number in range(1003):
        client.create_multipart_upload(Bucket=moto_order.bucket, Key=f"fly/many/{number}")

    assert len(await BucketChild().uploads(moto_order)) == 1003


def rule(days: int, **changes: Any) -> dict[str, Any]:
    abort = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}}
    return {"ID": f"r{days}", "Status": "Enabled", "Filter": {"Prefix": ""}, **abort, **changes}


@pytest.mark.parametrize(
    ("rules", "value"),
    [
        ([], None),
        ([rule(7)], "after 7 days"),
        ([rule(7), rule(3, Filter={"Prefix": "fly/"})], "after 3 days"),
        ([rule(7, Status="Disabled")], None),
        ([rule(7, Filter={"Prefix": "fly/app/"})], None),
        ([rule(7, Filter={"Tag": {"Key": "a", "Value": "b"}})], None),
        ([{"ID": "e", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}], None),
    ],
)
def test_the_abort_rule_is_one_that_covers_what_flykeep_writes(
    moto_server: S3Server, moto_order: StoreOrder, rules: list[dict[str, Any]], value: str | None
) -> None:
    if rules:
        configuration = {"Rules": rules}
        moto_server.client().put_bucket_lifecycle_configuration(
            Bucket=moto_order.bucket, LifecycleConfiguration=configuration
        )
    moto_server.client().put_object(Bucket=moto_order.bucket, Key="fly/k", Body=b"x")

    assert rules_of(moto_order)["abort"] == Told(value)


RULES = ("abort", "retention", "locked_until", "versioning")


def rules_of(order: StoreOrder) -> Mapping[str, Told]:
    """Asked in this process: the child's start is proven by the other tests."""
    answer = bucket_program.answer(BucketQuestion("rules", order, key="k"))
    assert answer.rules is not None
    return {name: getattr(answer.rules, name) for name in RULES}


async def test_the_lock_of_a_bucket_and_of_an_object_are_told(moto_server: S3Server) -> None:
    bucket = moto_server.new_locking_bucket(days=3)
    order = replace(moto_server.order(name="s"), bucket=bucket, is_locking=True)
    await ObjectStore(order).put_new("k", b"x")

    rules = rules_of(order)

    assert (rules["retention"], rules["versioning"]) == (Told("governance, 3 days"), Told("enabled"))
    assert str(rules["locked_until"].value).endswith("UTC")


async def test_a_bucket_without_lock_or_rule_says_so_and_one_that_knows_no_such_question_is_unknown(
    moto_order: StoreOrder, rclone_order: StoreOrder
) -> None:
    for order in (moto_order, rclone_order):
        await ObjectStore(order).put_new("k", b"x")

    assert rules_of(moto_order) == dict.fromkeys(RULES, Told())
    lax = rules_of(rclone_order)
    assert lax["abort"] == Told(why_unknown="the store answered another question")
    assert (lax["retention"], lax["locked_until"]) == (Told(), Told())


@pytest.mark.parametrize("status", [403, 400, 500])
def test_a_refusal_has_its_class_and_shows_no_secret(server: StandIn, status: int) -> None:
    server.fault = lambda method, path: status

    for question in (BucketQuestion("uploads", server.order()), BucketQuestion("abort", server.order(), (NO_UPLOAD,))):
        refused = bucket_program.answer(question).refused
        assert refused is not None
        with pytest.raises(StoreError) as caught:
            raise refused.error()
        assert caught.value.is_retryable == (status == 500)
        assert caught.value.facts["store"] == "standin"
        words = "".join(traceback.format_exception(caught.value)) + caught.value.next_step
        assert SECRET_KEY not in words
        assert ACCESS_KEY not in words


async def test_a_store_that_does_not_listen_is_unavailable(server: StandIn) -> None:
    with pytest.raises(StoreUnavailableError):
        await ThreadBuckets().uploads(server.order(endpoint="http://127.0.0.1:1"))


async def test_a_child_that_takes_too_long_is_ended(server: StandIn) -> None:
    server.fault = lambda method, path: "hang"

    with pytest.raises(StoreUnavailableError, match="within"):
        await BucketChild(time_limit=timedelta(milliseconds=20)).uploads(server.order())

    assert programs() == []


async def test_a_cancelled_question_ends_its_child(server: StandIn) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(method: str, path: str) -> str:
        loop.call_soon_threadsafe(asked.set)
        return "hang"

    server.fault = hang
    task = asyncio.create_task(BucketChild().uploads(server.order()))
    await asked.wait()
    (child,) = programs()
    assert not [word for word in (*child.cmdline(), *child.environ().values()) if SECRET_KEY in word]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert programs() == []


def programs() -> list[psutil.Process]:
    """The bucket programs this process has running."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "flykeep.adapters.stores.bucket_program" in child.cmdline()]


async def test_without_the_library_it_says_what_to_install(
    moto_order: StoreOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)

    with pytest.raises(StoreToolMissingError) as caught:
        await BucketChild().uploads(moto_order)

    assert "s3-sweep" in caught.value.next_step


def test_an_answer_that_is_none_is_an_error_without_its_words() -> None:
    line = json.dumps({"uploads": SECRET_KEY}).encode()
    with pytest.raises(StoreError) as caught:
        decode_answer(line)

    assert SECRET_KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("endpoint", ["https://acme-backups.s3.example.com", "https://s3.example.com", None])
def test_the_bucket_stands_once_in_the_address(endpoint: str | None) -> None:
    order = StoreOrder(
        name="s",
        type=StoreType.S3,
        bucket="acme-backups",
        endpoint=endpoint,
        is_path_style=False,
        access_key_id="a",
        secret_access_key="s",
        region="eu-west-1",
    )
    url = bucket_program._client(order).generate_presigned_url(
        "get_object", Params={"Bucket": "acme-backups", "Key": "k"}
    )

    expected = (
        "https://acme-backups.s3.example.com/k" if endpoint else "https://acme-backups.s3.eu-west-1.amazonaws.com/k"
    )
    assert url.split("?")[0] == expected

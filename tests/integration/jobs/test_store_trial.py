"""A store tried with everything it will be asked for: two servers, a folder, and stores with one thing wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from structlog.testing import capture_logs

from flykeep.adapters.stores.bucket_child import BucketChild
from flykeep.adapters.stores.object_store import ObjectStore
from flykeep.adapters.system import SystemClock
from flykeep.domain.errors import (
    IntegrityError,
    StoreError,
    StorePreconditionError,
    StoreToolMissingError,
    StoreUnavailableError,
)
from flykeep.domain.store_trial import StepState, StoreTrialReport
from flykeep.domain.stores import StoreTraits
from flykeep.jobs import store_trial
from flykeep.jobs.export import BoundStore
from flykeep.jobs.store_trial import StoreTrial
from flykeep.ports.bucket import BucketRules, Told
from flykeep.ports.store import Store, StoreOrder, StoreType
from flykeep.ports.store_trial import TrialOrder, TrialResult
from flykeep.testing.buckets import MemoryBuckets
from flykeep.testing.stores import MemoryStore
from flykeep.worker.channel import Flow
from flykeep.worker.trial import try_store
from tests.bucket_threads import ThreadBuckets
from tests.integration.jobs.parts import Parts
from tests.object_stores import S3Server
from tests.unit.adapters.stores.s3_stand_in import stand_in

OK, WARNING, FAILED, UNKNOWN = StepState
S3 = StoreOrder(name="memory", type=StoreType.S3, bucket="b", prefix="fly")
NAMES = ["clock", "create", "create only", "list", "big upload", "range read", "lock", "abort rule", "delete", "place"]


class ThreadWorkers:
    """Does the worker's part in a thread: its start is proven elsewhere."""

    async def try_store(self, order: TrialOrder) -> TrialResult:
        return await asyncio.to_thread(try_store, order, flow=Flow())


@dataclass
class MemoryWorkers:
    """Stores one object instead of megabytes; `error` is raised after it."""

    store: Store
    error: Exception | None = None
    hold: asyncio.Event | None = None
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def try_store(self, order: TrialOrder) -> TrialResult:
        await self.store.put(order.key, b"noise")
        self.began.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return TrialResult(3, "00", are_ranges_honoured=True)


@dataclass
class Bench:
    """A trial of a store in memory."""

    parts: Parts
    store: MemoryStore = field(default_factory=MemoryStore)
    traits: StoreTraits = field(default_factory=StoreTraits)
    buckets: MemoryBuckets = field(default_factory=MemoryBuckets)

    def __post_init__(self) -> None:
        self.workers = MemoryWorkers(self.store)
        self.buckets.time = self.parts.clock.now()

    @property
    def trial(self) -> StoreTrial:
        bound, parts = BoundStore(self.store, S3, self.traits), self.parts
        return StoreTrial(self.workers, self.buckets, bound, parts.catalog, parts.clock, parts.ids)

    async def left(self) -> list[str]:
        return [info.key for info in await self.store.list("")]


@pytest.fixture
def bench(parts: Parts) -> Bench:
    return Bench(parts)


def told(report: StoreTrialReport) -> dict[str, StepState]:
    assert [step.name for step in report.steps] == NAMES
    return {step.name: step.state for step in report.steps}


def odd_ones(report: StoreTrialReport) -> dict[str, StepState]:
    return {name: state for name, state in told(report).items() if state is not OK}


def detail(report: StoreTrialReport, name: str) -> str:
    return next(f"{step.detail} {step.hint}" for step in report.steps if step.name == name)


# Real stores.


def real_trial(parts: Parts, order: StoreOrder, traits: StoreTraits | None = None) -> StoreTrial:
    bound = BoundStore(ObjectStore(order), order, traits or StoreTraits())
    return StoreTrial(ThreadWorkers(), ThreadBuckets(), bound, parts.catalog, SystemClock(), parts.ids)


@pytest.mark.parametrize(
    ("fixture", "expected"),
    [
        ("directory_order", {}),
        ("moto_order", {"abort rule": WARNING}),
        ("rclone_order", {"create only": WARNING, "range read": WARNING, "abort rule": UNKNOWN}),
    ],
)
async def test_each_kind_of_store_is_told_as_it_is_and_left_as_it_was(
    parts: Parts, request: pytest.FixtureRequest, fixture: str, expected: dict[str, StepState]
) -> None:
    order: StoreOrder = request.getfixturevalue(fixture)

    report = await real_trial(parts, order).examine()

    assert (odd_ones(report), report.is_healthy, report.left) == (expected, True, ())
    assert detail(report, "big upload").startswith("24 MiB in 3 parts")
    assert list(await ObjectStore(order).list("")) == []
    if fixture == "moto_order":
        assert await ThreadBuckets().uploads(order) == ()


async def test_a_lock_that_misses_what_comes_in_parts_is_a_failure(parts: Parts, moto_server: S3Server) -> None:
    bucket = moto_server.new_locking_bucket(days=3)
    order = replace(moto_server.order(name="moto"), bucket=bucket, is_locking=True)

    report = await real_trial(parts, order, StoreTraits(is_lock_required=True)).examine()

    # moto applies default retention to single writes alone: just what this step is for.
    assert odd_ones(report) == {"lock": FAILED, "abort rule": WARNING}
    assert "governance, 3 days" in detail(report, "lock")


async def test_a_bucket_that_keeps_every_version_is_warned_of(parts: Parts, moto_server: S3Server) -> None:
    order = moto_server.order(name="moto")
    moto_server.client().put_bucket_versioning(Bucket=order.bucket, VersioningConfiguration={"Status": "Enabled"})

    report = await replace(real_trial(parts, order), workers=MemoryWorkers(ObjectStore(order))).examine()

    assert odd_ones(report) == {"abort rule": WARNING, "delete": WARNING}
    assert "noncurrent versions" in detail(report, "delete")


async def test_wrong_credentials_are_told_once(parts: Parts, rclone_order: StoreOrder) -> None:
    order = replace(rclone_order, secret_access_key="another-planted-secret-which-is-wrong")

    report = await real_trial(parts, order).examine()

    states = told(report)
    assert (states["clock"], states["create"]) == (OK, FAILED)
    assert {state for name, state in states.items() if name not in {"clock", "create", "place"}} == {UNKNOWN}
    assert "credentials" in detail(report, "create")


@pytest.mark.parametrize(("off", "state"), [(timedelta(minutes=2), WARNING), (timedelta(minutes=-6), FAILED)])
async def test_the_store_s_own_date_is_compared(parts: Parts, off: timedelta, state: StepState) -> None:
    with stand_in() as server:
        server.date = format_datetime(SystemClock().now() + off, usegmt=True)
        report = await real_trial(parts, server.order()).examine()

    assert told(report)["clock"] is state


@pytest.mark.parametrize("date", ["", "yesterday"])
async def test_a_store_without_a_clock_fails_that_step_alone(parts: Parts, date: str) -> None:
    with stand_in() as server:
        server.date = date
        with pytest.raises(StoreError, match="what time it is"):
            await BucketChild().server_time(server.order())
    with pytest.raises(StoreUnavailableError):
        await BucketChild().server_time(server.order())  # it listens no more


# Stores with one thing wrong.


async def test_a_store_that_is_as_wanted_is_all_ok(bench: Bench) -> None:
    report = await bench.trial.examine()

    assert (odd_ones(report), report.is_healthy, await bench.left()) == ({}, True, [])


async def test_a_lock_that_holds_is_ok_and_said_to_stay(bench: Bench) -> None:
    bench.traits = StoreTraits(is_lock_required=True, is_on_platform=True)
    bench.buckets.answer = BucketRules(Told("after 1 days"), Told("compliance, 30 days"), Told("2026-04-01"))

    report = await bench.trial.examine()

    assert odd_ones(report) == {"place": WARNING}
    assert "locked versions stay" in detail(report, "delete")


@pytest.mark.parametrize(
    ("is_required", "retention", "until", "state"),
    [
        (True, Told("governance, 1 days"), Told(why_unknown="403"), FAILED),
        (True, Told(why_unknown="403"), Told(why_unknown="403"), UNKNOWN),
        (True, Told(why_unknown="403"), Told("2026-04-01"), OK),
        (False, Told(why_unknown="403"), Told(), UNKNOWN),
        (False, Told(), Told(why_unknown="403"), UNKNOWN),
        (False, Told(why_unknown="403"), Told("2026-04-01"), WARNING),
    ],
)
async def test_what_the_key_may_not_ask_is_unknown_and_not_ok(
    bench: Bench, is_required: bool, retention: Told, until: Told, state: StepState
) -> None:
    bench.traits = StoreTraits(is_lock_required=is_required)
    bench.buckets.answer = BucketRules(Told(why_unknown="403"), retention, until)

    report = await bench.trial.examine()

    assert (told(report)["lock"], told(report)["abort rule"]) == (state, UNKNOWN)


async def test_without_the_tool_locks_and_rules_are_unknown_and_the_rest_is_tried(bench: Bench) -> None:
    bench.trial  # noqa: B018 - built once to show that nothing is asked by building
    real = bench.buckets.rules

    async def missing(*given: object) -> BucketRules:
        bench.buckets.failures.append(StoreToolMissingError("boto3 is not installed"))
        return await real(*given)  # type: ignore[arg-type]

    bench.buckets.rules = missing  # type: ignore[method-assign, assignment]
    report = await bench.trial.examine()

    assert odd_ones(report) == {"lock": UNKNOWN, "abort rule": UNKNOWN}
    assert "s3-sweep" in detail(report, "lock")


class NoDeletes(MemoryStore):
    async def delete(self, key: str) -> None:
        raise StoreError("Store memory could not delete an object: 403")


@pytest.mark.parametrize(("are_refused", "state"), [(True, OK), (False, FAILED)])
async def test_refused_deletes_are_right_or_wrong_and_what_stays_is_named(
    parts: Parts, are_refused: bool, state: StepState
) -> None:
    bench = Bench(parts, NoDeletes(), StoreTraits(are_deletes_refused=are_refused))

    report = await bench.trial.examine()

    assert told(report)["delete"] is state
    assert list(report.left) == await bench.left()
    assert [key.rpartition("/")[2] for key in report.left] == ["bulk", "small"]


async def test_deletes_that_should_be_refused_and_are_not_are_a_failure(bench: Bench) -> None:
    bench.traits = StoreTraits(are_deletes_refused=True)

    assert odd_ones(await bench.trial.examine()) == {"delete": FAILED}


class Sick(MemoryStore):
    """A store in memory with one thing wrong."""

    def __init__(self, wrong: str) -> None:
        super().__init__()
        self.wrong = wrong

    async def put_new(self, key: str, data: bytes) -> None:
        try:
            await super().put_new(key, data)
        except StorePreconditionError:
            if self.wrong != "overwrites":
                raise

    async def get(self, key: str, *, limit_bytes: int = 64 << 20) -> bytes:
        if self.wrong == "hangs":
            await asyncio.Event().wait()
        return b"other" if self.wrong == "forgets" else await super().get(key, limit_bytes=limit_bytes)

    async def list(self, prefix: str) -> list:  # type: ignore[type-arg, override]
        return [] if self.wrong == "hides" else list(await super().list(prefix))

    async def delete(self, key: str) -> None:
        if self.wrong == "tires":
            raise StoreUnavailableError("not now")
        await super().delete(key)


@pytest.mark.parametrize(
    ("wrong", "step", "words"),
    [
        ("overwrites", "create only", "a second create"),
        ("forgets", "create", "integrity.failed"),
        ("hides", "list", "0 objects are listed"),
        ("tires", "delete", "store.unavailable"),
        ("hangs", "create", "no answer within 0 s"),
    ],
)
async def test_one_thing_wrong_is_that_step_s_failure(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, wrong: str, step: str, words: str
) -> None:
    if wrong == "hangs":
        monkeypatch.setattr(store_trial, "_STEP_LIMIT", timedelta(milliseconds=30))
    report = await Bench(parts, Sick(wrong)).trial.examine()

    assert told(report)[step] is FAILED
    assert words in detail(report, step)
    assert not report.is_healthy


async def test_bulk_data_that_comes_back_wrong_is_a_failure_and_is_removed(bench: Bench) -> None:
    bench.workers.error = IntegrityError("other bytes")

    report = await bench.trial.examine()

    assert odd_ones(report) == {"big upload": FAILED, "range read": WARNING}
    assert await bench.left() == []


async def test_a_trial_that_is_called_off_removes_what_it_stored(bench: Bench) -> None:
    bench.workers.hold = asyncio.Event()
    trial = asyncio.create_task(bench.trial.examine())
    await bench.workers.began.wait()
    assert len(await bench.left()) == 2
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial

    assert await bench.left() == []


async def test_what_a_trial_could_not_remove_is_said_and_tried_again_by_a_later_one(parts: Parts) -> None:
    bench = Bench(parts, Sick("tires"))
    with capture_logs() as logs:
        report = await bench.trial.examine()

    (left,) = report.left
    assert left.startswith("_doctor/")
    assert [(line["prefix"], line["log_level"]) for line in logs] == [(left.rstrip("/"), "warning")]
    await parts.clock.sleep(timedelta(hours=2))
    bench.buckets.time = parts.clock.now()
    still, _ = (await bench.trial.examine()).left
    assert still == left
    bench.store.wrong = ""
    await parts.clock.sleep(timedelta(hours=2))
    bench.buckets.time = parts.clock.now()
    assert (await bench.trial.examine()).left == ()


async def test_a_cleanup_that_hangs_is_given_up_and_said(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(MemoryStore):
        async def discard_unfinished(self, prefix: str) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(store_trial, "_STEP_LIMIT", timedelta(milliseconds=30))
    report = await Bench(parts, Stuck()).trial.examine()

    assert report.is_healthy
    assert len(report.left) == 1


async def killed(bench: Bench) -> str:
    """A trial whose process died: its note and what it stored remain. The key of one of its objects."""
    at: datetime = bench.parts.clock.now()
    await bench.trial._remember(f'{{"prefix": "_doctor/earlier", "at": "{at.isoformat()}"}}')
    await bench.store.put("_doctor/earlier/bulk", b"noise")
    await bench.store.put("_doctor/earlier-and-not-ours/bulk", b"somebody's")
    bench.buckets.begin("b", "fly/_doctor/earlier/bulk")
    bench.buckets.begin("b", "fly/_doctor/look-alike/bulk")
    return "_doctor/earlier/bulk"


async def test_what_a_killed_trial_left_is_removed_by_a_later_one_and_nothing_else_is(bench: Bench) -> None:
    key = await killed(bench)
    await bench.trial.examine()
    assert key in await bench.left()  # it may still be at work

    await killed(bench)
    await bench.parts.clock.sleep(timedelta(hours=1))
    bench.buckets.time = bench.parts.clock.now()
    await bench.trial.examine()

    assert await bench.left() == ["_doctor/earlier-and-not-ours/bulk"]
    keys = [upload.key for upload in bench.buckets.begun["b"]]
    assert "fly/_doctor/earlier/bulk" not in keys
    assert "fly/_doctor/look-alike/bulk" in keys


async def test_an_abandoned_trial_without_uploads_or_tool_hinders_nothing(bench: Bench) -> None:
    for failures in ([], [StoreToolMissingError("boto3 is not installed")]):
        await killed(bench)
        bench.buckets.begun.clear()
        await bench.parts.clock.sleep(timedelta(hours=2))
        bench.buckets.failures.extend(failures)
        bench.buckets.time = bench.parts.clock.now()
        assert odd_ones(await bench.trial.examine()) == {}

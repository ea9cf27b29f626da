"""Tries one store with everything an export, a restore and retention will ask of it, under a prefix of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from flykeep.domain import store_trial as judge
from flykeep.domain.errors import (
    FlykeepError,
    IntegrityError,
    StoreError,
    StorePreconditionError,
    StoreToolMissingError,
)
from flykeep.domain.store_trial import StepState, StoreTrialReport, TrialStep
from flykeep.jobs.export import BoundStore
from flykeep.jobs.store_notes import remember_creates
from flykeep.ports.bucket import BucketRules, Buckets, Told
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock, IdSource
from flykeep.ports.store import StoreType
from flykeep.ports.store_trial import StoreTrials, TrialOrder

log = structlog.get_logger()

FOLDER = "_doctor"
_SIZE_BYTES = 24 << 20
_PART_BYTES = 8 << 20
_STEP_LIMIT = timedelta(seconds=60)
_BULK_LIMIT = timedelta(minutes=10)
_ABANDONED_AFTER = timedelta(hours=1)


@dataclass(slots=True)
class _Place:
    """Where one trial writes, and what it has learned there so far."""

    prefix: str
    are_ranges_honoured: bool = False
    rules: BucketRules | None = None
    left: list[str] = field(default_factory=list)

    @property
    def small(self) -> str:
        return f"{self.prefix}/small"

    @property
    def bulk(self) -> str:
        return f"{self.prefix}/bulk"


@dataclass(frozen=True, slots=True)
class StoreTrial:
    """Leaves nothing behind where the store lets it delete, and says what it left where not."""

    workers: StoreTrials
    buckets: Buckets
    bound: BoundStore
    catalog: Catalog
    clock: Clock
    ids: IdSource

    async def examine(self) -> StoreTrialReport:
        """A step that fails does not hide the others; what a trial that was killed left is removed first."""
        abandoned = await self._clear_abandoned()
        place = _Place(f"{FOLDER}/{self.ids.token()}")
        await self._remember(json.dumps({"prefix": place.prefix, "at": self.clock.now().isoformat()}))
        try:
            steps = await self._steps(place)
        finally:
            await self._withdraw(place)
        if not place.left or self.bound.traits.are_deletes_refused:
            await self._remember("")
        return StoreTrialReport(self.bound.store.name, tuple(steps), (*abandoned, *place.left))

    async def _steps(self, place: _Place) -> list[TrialStep]:
        steps = [await self._step("clock", self._clock, place), await self._step("create", self._create, place)]
        later: tuple[tuple[str, Callable[[_Place], Awaitable[TrialStep]]], ...] = (
            ("create only", self._create_only),
            ("list", self._list),
            ("big upload", self._bulk),
            ("range read", self._ranges),
            ("lock", self._lock),
            ("abort rule", self._abort_rule),
            ("delete", self._delete),
        )
        if steps[-1].state is StepState.FAILED:
            steps += [TrialStep(name, StepState.UNKNOWN, "not tried: nothing could be stored") for name, _ in later]
        else:
            steps += [await self._step(name, attempt, place) for name, attempt in later]
        return [*steps, judge.judge_place(self.bound.traits)]

    async def _step(self, name: str, attempt: Callable[[_Place], Awaitable[TrialStep]], place: _Place) -> TrialStep:
        limit = _BULK_LIMIT if name == "big upload" else _STEP_LIMIT
        try:
            async with asyncio.timeout(limit.total_seconds()):
                return await attempt(place)
        except FlykeepError as error:
            return TrialStep(name, StepState.FAILED, f"{error.code}: {error}", error.next_step)
        except TimeoutError:
            return TrialStep(name, StepState.FAILED, f"no answer within {limit.total_seconds():.0f} s")

    async def _clock(self, _: _Place) -> TrialStep:
        store_at = await self.buckets.server_time(self.bound.order)
        return judge.judge_clock(self.clock.now() - store_at if store_at is not None else timedelta(0))

    async def _create(self, place: _Place) -> TrialStep:
        data = self.ids.token().encode()
        await self.bound.store.put_new(place.small, data)
        if await self.bound.store.get(place.small) != data:
            raise IntegrityError("the store gave back other bytes than it took", facts={"key": place.small})
        return TrialStep("create", StepState.OK, "an object was stored and read back")

    async def _create_only(self, place: _Place) -> TrialStep:
        store = self.bound.store
        try:
            await store.put_new(place.small, b"again")
            is_refused = False
        except StorePreconditionError:
            is_refused = True
        async with self.catalog.transaction() as tx:
            await remember_creates(tx, store, now=self.clock.now())
        return judge.judge_create_only(is_refused=is_refused, is_atomic=store.is_create_atomic)

    async def _list(self, place: _Place) -> TrialStep:
        found = [info.key for info in await self.bound.store.list(f"{place.prefix}/")]
        if found == [place.small]:
            return TrialStep("list", StepState.OK, "what was stored is listed, and nothing else")
        return TrialStep("list", StepState.FAILED, f"{len(found)} objects are listed where one was stored")

    async def _bulk(self, place: _Place) -> TrialStep:
        limit_s = _BULK_LIMIT.total_seconds()
        order = TrialOrder(self.bound.order, place.bulk, _SIZE_BYTES, _PART_BYTES, deadline_s=limit_s)
        result = await self.workers.try_store(order)
        place.are_ranges_honoured = result.are_ranges_honoured
        detail = f"{_SIZE_BYTES >> 20} MiB in {result.parts} parts came back with the same sha256"
        return TrialStep("big upload", StepState.OK, detail)

    async def _ranges(self, place: _Place) -> TrialStep:
        await self.bound.store.head(place.bulk)
        return judge.judge_ranges(are_honoured=place.are_ranges_honoured)

    async def _lock(self, place: _Place) -> TrialStep:
        if self.bound.order.type is StoreType.DIRECTORY:
            return TrialStep("lock", StepState.OK, "a folder has none")
        rules, traits = await self._rules(place), self.bound.traits
        until, default = rules.locked_until, rules.retention
        unknown = until.why_unknown if traits.is_lock_required else until.why_unknown or default.why_unknown
        if unknown and not (until.value or default.value):
            hint = "Allow this key to read the bucket's object lock, or look at it yourself."
            return TrialStep("lock", StepState.UNKNOWN, unknown, hint)
        return judge.judge_lock(traits, retention=default.value, locked_until=until.value)

    async def _abort_rule(self, place: _Place) -> TrialStep:
        if self.bound.order.type is StoreType.DIRECTORY:
            return TrialStep("abort rule", StepState.OK, "a folder needs none: flykeep removes its unfinished files")
        rule = (await self._rules(place)).abort
        if rule.why_unknown:
            hint = "Look whether the bucket has a rule that aborts unfinished uploads, or may not need one."
            return TrialStep("abort rule", StepState.UNKNOWN, rule.why_unknown, hint)
        return judge.judge_abort_rule(rule.value)

    async def _rules(self, place: _Place) -> BucketRules:
        """Asked once; a tool that is not installed leaves everything unknown."""
        if place.rules is None:
            try:
                place.rules = await self.buckets.rules(self.bound.order, place.bulk)
            except StoreToolMissingError as error:
                untold = Told(why_unknown=f"{error.message}: {error.next_step}")
                place.rules = BucketRules(untold, untold, untold)
        return place.rules

    async def _delete(self, place: _Place) -> TrialStep:
        refusal = await self._remove(place)
        is_versioned = place.rules is not None and place.rules.versioning.value is not None
        return judge.judge_delete(
            self.bound.traits, refusal=refusal, is_gone=not place.left, are_versions_kept=is_versioned
        )

    async def _remove(self, place: _Place) -> str | None:
        """Delete what stands there and list what is left; what the store answered where it refused."""
        store, refusal = self.bound.store, None
        for info in await store.list(f"{place.prefix}/"):
            try:
                await store.delete(info.key)
            except StoreError as error:
                if error.is_retryable:
                    raise
                refusal = error.message
        place.left = [info.key for info in await store.list(f"{place.prefix}/")]
        return refusal

    async def _withdraw(self, place: _Place) -> None:
        """Once more, for what a failed or cancelled trial has left; shielded, bounded, and no failure of its own."""
        if self.bound.traits.are_deletes_refused:
            return
        cleanup = asyncio.ensure_future(self._clear(place))
        try:
            async with asyncio.timeout(_STEP_LIMIT.total_seconds()):
                await asyncio.shield(cleanup)
        except TimeoutError:
            cleanup.cancel()
            self._say_left(place, f"no answer within {_STEP_LIMIT.total_seconds():.0f} s")

    async def _clear(self, place: _Place) -> None:
        try:
            await self._remove(place)
            await self.bound.store.discard_unfinished(f"{place.prefix}/")
        except StoreError as error:
            self._say_left(place, str(error))

    def _say_left(self, place: _Place, why: str) -> None:
        """Its note stays too, so that a later trial tries again."""
        place.left = place.left or [f"{place.prefix}/"]
        log.warning("doctor.left", store=self.bound.store.name, prefix=place.prefix, why=why)

    async def _clear_abandoned(self) -> list[str]:
        """What the note of an earlier trial names, unless that one may still be at work; gives what would not go."""
        async with self.catalog.transaction() as tx:
            known = await tx.note(self._note)
        if not known:
            return []
        earlier = json.loads(known)
        if self.clock.now() - datetime.fromisoformat(earlier["at"]) < _ABANDONED_AFTER:
            return []
        place = _Place(earlier["prefix"])
        await self._clear(place)
        try:
            uploads = await self.buckets.uploads(self.bound.order)
            ours = [upload for upload in uploads if upload.key.startswith(f"{earlier['prefix']}/")]
            if ours:
                await self.buckets.abort(self.bound.order, ours)
        except StoreError as error:
            log.warning("doctor.uploads_left", store=self.bound.store.name, prefix=place.prefix, why=str(error))
        return place.left

    @property
    def _note(self) -> str:
        return f"doctor:{self.bound.store.name}"

    async def _remember(self, value: str) -> None:
        async with self.catalog.transaction() as tx:
            await tx.save_note(self._note, value)

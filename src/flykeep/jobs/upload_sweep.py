"""Unfinished uploads in buckets: those of runs that are over are aborted; what no run journalled is only reported.

A worker that is killed in the middle of an upload leaves its parts behind, invisible in every listing and paid for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from flykeep.domain.errors import StoreError
from flykeep.domain.ids import RunId
from flykeep.domain.run import Run, RunState
from flykeep.jobs.settle import EXPORTING, export_intents
from flykeep.ports.bucket import Buckets, Upload
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.store import StoreOrder

SWEPT_NOTE = "uploads swept"
_SWEPT_EVERY = timedelta(hours=24)
_RUNS_AT_MOST = 1000
_KEPT = "kept: no run of flykeep began it"


@dataclass(frozen=True, slots=True)
class UploadLeftover:
    """One unfinished upload; `run_id` is the run that began it, None where no run of flykeep journalled its key."""

    store: str
    key: str
    begun_at: datetime  # as the store says
    action: str  # "abort" | "kept: <why>"
    run_id: RunId | None = None


@dataclass(frozen=True, slots=True)
class Unswept:
    """A store whose unfinished uploads could not be looked at; `hint` says what looks after them instead."""

    store: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class UploadReport:
    leftovers: tuple[UploadLeftover, ...] = ()
    unswept: tuple[Unswept, ...] = ()


@dataclass(frozen=True, slots=True)
class UploadSweep:
    buckets: Buckets
    orders: Mapping[str, StoreOrder]
    catalog: Catalog
    clock: Clock

    async def is_due(self) -> bool:
        """Whether some run may have left parts since the last sweep, or the last one is a day old.

        A sweep loads a large library: on a small machine it must not do so every hour for nothing.
        """
        async with self.catalog.transaction() as tx:
            swept = await tx.note(SWEPT_NOTE)
            ended = [run for kind in EXPORTING for run in await tx.runs(kind=kind, is_open=False)]
        now_s = self.clock.now().timestamp()
        if swept is None or now_s - float(swept) >= _SWEPT_EVERY.total_seconds():
            return True
        return any(_has_broken_off(run) and run.ended_at and run.ended_at.timestamp() >= float(swept) for run in ended)

    async def sweep(self, dead: Collection[RunId], *, is_applied: bool) -> UploadReport:
        """Look at every bucket. `dead` are open runs whose process died; what living ones upload stays unmentioned."""
        began_at, is_whole = self.clock.now(), True
        leftovers: list[UploadLeftover] = []
        unswept: list[Unswept] = []
        for name, order in self.orders.items():
            try:
                leftovers += await self._sweep(order, dead, is_applied=is_applied)
            except StoreError as error:
                unswept.append(Unswept(name, error.message, error.next_step))
                is_whole = is_whole and not error.is_retryable
        if is_applied and is_whole:  # else the next hour tries again
            async with self.catalog.transaction() as tx:
                await tx.save_note(SWEPT_NOTE, str(began_at.timestamp()))
        return UploadReport(tuple(leftovers), tuple(unswept))

    async def _sweep(self, order: StoreOrder, dead: Collection[RunId], *, is_applied: bool) -> list[UploadLeftover]:
        uploads = await self.buckets.uploads(order)
        owners = await self._owners(order.name, uploads) if uploads else {}
        left = {one: run for one, run in owners.items() if run is not None and (run.state.is_final or run.id in dead)}
        if left and is_applied:
            await self.buckets.abort(order, tuple(left))
        return [
            *(UploadLeftover(order.name, one.key, one.begun_at, "abort", run.id) for one, run in left.items()),
            *(UploadLeftover(order.name, one.key, one.begun_at, _KEPT) for one, run in owners.items() if run is None),
        ]

    async def _owners(self, store: str, uploads: Iterable[Upload]) -> dict[Upload, Run | None]:
        """The run that journalled the prefix of each key before anything was written there.

        Read after the uploads: a run that is open now was, or was not yet, when its upload was seen.
        """
        owners: dict[Upload, Run | None] = dict.fromkeys(uploads)
        async with self.catalog.transaction() as tx:
            for run in [run for kind in EXPORTING for run in await tx.runs(kind=kind, limit=_RUNS_AT_MOST)]:
                if None not in owners.values():
                    break
                prefixes = [f"{one.prefix}/" for one in export_intents(await tx.steps(run.id)) if one.store == store]
                for upload in owners:
                    if upload.key.startswith(tuple(prefixes)):
                        owners[upload] = run
        return owners


def _has_broken_off(run: Run) -> bool:
    return run.state in {RunState.FAILED, RunState.INTERRUPTED, RunState.CANCELLED}

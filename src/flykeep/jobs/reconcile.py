"""Close the runs of dead processes, and settle what they left: adopt finished artifacts, remove half-made ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.documents import to_json
from flykeep.domain.errors import SignatureError
from flykeep.domain.ids import RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, Run, RunState, Step
from flykeep.jobs.context import OrgWork
from flykeep.jobs.runner import interrupted_outcome
from flykeep.jobs.settle import Settler
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.ownership import Owners
from flykeep.ports.store import Store

_LOOK_BACK = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Leftover:
    """What one unsettled export left in one store; `action` is what was done, or would be."""

    run_id: RunId
    store: str
    prefix: str
    action: str  # "adopt" | "remove" | "nothing left" | "kept: <why>"
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    interrupted: tuple[RunId, ...]
    leftovers: tuple[Leftover, ...]
    is_applied: bool


@dataclass(frozen=True, slots=True)
class _Intent:
    """A journalled export: flykeep named this prefix before it wrote there, so it may remove what stands there."""

    run_id: RunId
    store: str
    prefix: str


@dataclass(frozen=True, slots=True)
class ReconcileJob:
    """What flykeep did not journal creating is never touched."""

    catalog: Catalog
    owners: Owners
    clock: Clock
    stores: Mapping[str, Store]
    settler: Settler

    async def run(self, work: OrgWork) -> Outcome:
        report = await self.reconcile(is_applied=True)
        if report.interrupted or report.leftovers:
            await work.journal.step("reconciled", interrupted=len(report.interrupted), leftovers=len(report.leftovers))
        return Outcome(RunState.SUCCEEDED, to_json(report))

    async def reconcile(self, *, is_applied: bool) -> ReconcileReport:
        """Without `is_applied` nothing is changed: the report says what would be."""
        dead = await self._dead_runs()
        if is_applied:
            for run in dead:
                await self._close(run)
        leftovers = [await self._settle(intent, is_applied=is_applied) for intent in await self._intents(dead)]
        return ReconcileReport(tuple(run.id for run in dead), tuple(leftovers), is_applied)

    async def _dead_runs(self) -> list[Run]:
        async with self.catalog.transaction() as tx:
            running = [run for run in await tx.runs(is_open=True, limit=1000) if run.state is RunState.RUNNING]
        return [run for run in running if run.owner_id is None or not await self.owners.is_alive(run.owner_id)]

    async def _close(self, run: Run) -> None:
        async with self.catalog.transaction() as tx:
            await tx.finish(run.id, outcome=interrupted_outcome("the process executing it died"), now=self.clock.now())

    async def _intents(self, dead: Sequence[Run]) -> list[_Intent]:
        """Exports journalled as begun and neither committed nor settled, of runs that are over."""
        now = self.clock.now()
        intents: list[_Intent] = []
        async with self.catalog.transaction() as tx:
            ended = await tx.runs(kind=JobKind.EXPORT, is_open=False, limit=1000)
            recent = [run for run in ended if run.ended_at and now - run.ended_at < _LOOK_BACK]
            exports = {run.id: run for run in [*recent, *dead] if run.kind is JobKind.EXPORT}
            for run_id in exports:
                intents.extend(_unsettled(run_id, await tx.steps(run_id)))
        return intents

    async def _settle(self, intent: _Intent, *, is_applied: bool) -> Leftover:
        store = self.stores.get(intent.store)
        if store is None:
            return Leftover(intent.run_id, intent.store, intent.prefix, "kept: the store is not configured any more")
        try:
            settled = await self.settler.settle(store, intent.prefix, is_applied=is_applied)
        except SignatureError as error:
            return Leftover(intent.run_id, intent.store, intent.prefix, f"kept: {error.message}")
        if is_applied:
            await self._journal_settled(intent)
        if settled.artifact is not None:
            return Leftover(intent.run_id, intent.store, intent.prefix, "adopt")
        action = "remove" if settled.removed else "nothing left"
        return Leftover(intent.run_id, intent.store, intent.prefix, action, settled.removed)

    async def _journal_settled(self, intent: _Intent) -> None:
        async with self.catalog.transaction() as tx:
            number = len(await tx.steps(intent.run_id)) + 1
            detail = json.dumps({"store": intent.store})
            await tx.add_step(Step(intent.run_id, number, "settled", self.clock.now(), detail))


def _unsettled(run_id: RunId, steps: Sequence[Step]) -> list[_Intent]:
    begun: dict[str, _Intent] = {}
    for step in steps:
        detail = json.loads(step.detail) if step.detail else {}
        store = detail.get("store", "")
        if step.name == "export":
            begun[store] = _Intent(run_id, store, detail["prefix"])
        elif step.name in {"committed", "settled"}:
            begun.pop(store, None)
    return list(begun.values())

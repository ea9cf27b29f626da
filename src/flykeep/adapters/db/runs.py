"""The ledger of runs: what was asked, who executes it, how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, exists, func, insert, or_, select, update

from flykeep.adapters.db.statements import Statements
from flykeep.adapters.db.tables import run_steps, runs
from flykeep.domain.errors import InternalError
from flykeep.domain.ids import LineageId, OwnerId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, Run, RunState, Slot, Step
from flykeep.ports.catalog import NewestSlot

_OPEN = (RunState.PENDING.value, RunState.RUNNING.value)


class SqlRunLedger:
    """ports.catalog.RunLedger within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._do = statements

    async def add_run(self, run: Run) -> bool:
        taken = select(runs.c.id).where(
            runs.c.kind == run.kind.value,
            runs.c.lineage_id == run.lineage_id,
            runs.c.slot_key == run.slot.key,
        )
        if await self._do.row(taken) is not None:
            return False
        await self._do.change(
            insert(runs).values(
                id=run.id,
                kind=run.kind.value,
                lineage_id=run.lineage_id,
                slot_key=run.slot.key,
                slot_at=run.slot.scheduled_at,
                state=run.state.value,
                requested_at=run.requested_at,
                due_at=run.due_at,
                request=run.request,
                owner_id=run.owner_id,
                started_at=run.started_at,
                ended_at=run.ended_at,
                outcome=run.outcome,
            )
        )
        return True

    async def run(self, run_id: RunId) -> Run | None:
        row = await self._do.row(select(runs).where(runs.c.id == run_id))
        return None if row is None else _run(row)

    async def runs(
        self,
        *,
        lineage_id: LineageId | None = None,
        kind: JobKind | None = None,
        scheduled_at: datetime | None = None,
        is_open: bool | None = None,
        limit: int = 100,
    ) -> Sequence[Run]:
        query = select(runs).order_by(runs.c.requested_at.desc(), runs.c.id.desc()).limit(limit)
        if lineage_id is not None:
            query = query.where(runs.c.lineage_id == lineage_id)
        if kind is not None:
            query = query.where(runs.c.kind == kind.value)
        if scheduled_at is not None:
            query = query.where(runs.c.slot_at == scheduled_at)
        if is_open is not None:
            query = query.where(runs.c.state.in_(_OPEN) if is_open else runs.c.state.not_in(_OPEN))
        return tuple(_run(row) for row in await self._do.rows(query))

    async def claim(self, run_id: RunId, *, owner_id: OwnerId, now: datetime) -> bool:
        other = runs.alias("other")
        is_busy = exists().where(other.c.lineage_id == runs.c.lineage_id, other.c.state == RunState.RUNNING.value)
        claimed = await self._do.change(
            update(runs)
            .where(
                runs.c.id == run_id,
                runs.c.state == RunState.PENDING.value,
                or_(runs.c.owner_id.is_(None), runs.c.owner_id == owner_id),
                ~is_busy,
            )
            .values(state=RunState.RUNNING.value, owner_id=owner_id, started_at=now)
        )
        return claimed == 1

    async def claimable(self, *, now: datetime, limit: int = 50) -> Sequence[Run]:
        other = runs.alias("other")
        is_busy = exists().where(other.c.lineage_id == runs.c.lineage_id, other.c.state == RunState.RUNNING.value)
        oldest_first = (runs.c.due_at, runs.c.requested_at, runs.c.id)
        turn = func.row_number().over(partition_by=runs.c.lineage_id, order_by=oldest_first)
        due = (
            select(runs.c.id, turn.label("turn"))
            .where(
                runs.c.state == RunState.PENDING.value,
                runs.c.owner_id.is_(None),
                runs.c.due_at <= now,
                ~is_busy,
            )
            .subquery()
        )
        query = select(runs).join(due, due.c.id == runs.c.id).where(due.c.turn == 1)
        return tuple(_run(row) for row in await self._do.rows(query.order_by(*oldest_first).limit(limit)))

    async def finish(self, run_id: RunId, *, outcome: Outcome, now: datetime) -> bool:
        if not outcome.state.is_final:
            raise InternalError(f"a run cannot end as {outcome.state}", facts={"run": run_id})
        finished = await self._do.change(
            update(runs)
            .where(runs.c.id == run_id, runs.c.state.in_(_OPEN))
            .values(state=outcome.state.value, outcome=outcome, ended_at=now)
        )
        return finished == 1

    async def newest_slots(self) -> Mapping[tuple[JobKind, LineageId], NewestSlot]:
        newest = (
            select(runs.c.kind, runs.c.lineage_id, func.max(runs.c.slot_at, type_=runs.c.slot_at.type).label("slot_at"))
            .where(runs.c.slot_at.is_not(None))
            .group_by(runs.c.kind, runs.c.lineage_id)
            .subquery()
        )
        is_same = and_(*(runs.c[name] == newest.c[name] for name in ("kind", "lineage_id", "slot_at")))
        query = select(runs.c.kind, runs.c.lineage_id, runs.c.slot_at, runs.c.state).join(newest, is_same)
        found: dict[tuple[JobKind, LineageId], NewestSlot] = {}
        for row in await self._do.rows(query):
            key = (JobKind(row.kind), LineageId(row.lineage_id))
            others = found[key].states if key in found else frozenset()
            found[key] = NewestSlot(row.slot_at, others | {RunState(row.state)})
        return found

    async def add_step(self, step: Step) -> None:
        await self._do.change(
            insert(run_steps).values(
                run_id=step.run_id, number=step.number, name=step.name, at=step.at, detail=step.detail
            )
        )

    async def steps(self, run_id: RunId) -> Sequence[Step]:
        query = select(run_steps).where(run_steps.c.run_id == run_id).order_by(run_steps.c.sequence)
        return tuple(
            Step(run_id=RunId(row.run_id), number=row.number, name=row.name, at=row.at, detail=row.detail)
            for row in await self._do.rows(query)
        )


def _run(row: Row[Any]) -> Run:
    return Run(
        id=RunId(row.id),
        kind=JobKind(row.kind),
        lineage_id=LineageId(row.lineage_id),
        slot=Slot(row.slot_key, row.slot_at),
        state=RunState(row.state),
        requested_at=row.requested_at,
        due_at=row.due_at,
        request=row.request,
        owner_id=None if row.owner_id is None else OwnerId(row.owner_id),
        started_at=row.started_at,
        ended_at=row.ended_at,
        outcome=row.outcome,
    )

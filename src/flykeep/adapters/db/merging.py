"""Two lineages that become one: every row of the one is the other's afterwards."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, select, update

from flykeep.adapters.db.statements import Statements
from flykeep.adapters.db.tables import (
    artifacts,
    lineages,
    machine_configs,
    pauses,
    proofs,
    runs,
    snapshots,
    verdicts,
)
from flykeep.domain.adoption import merged_slot_key
from flykeep.domain.ids import LineageId
from flykeep.ports.catalog import MergeCounts


class SqlMerging:
    """`merge_lineage` of ports.catalog.Lineages within one transaction."""

    def __init__(self, statements: Statements) -> None:
        self._do = statements

    async def merge_lineage(self, lineage_id: LineageId, *, into: LineageId) -> MergeCounts:
        moved = await self._move_runs(lineage_id, into)
        counts = {}
        for table in (snapshots, artifacts, proofs, machine_configs):
            change = update(table).where(table.c.lineage_id == lineage_id).values(lineage_id=into)
            counts[table.name] = await self._do.change(change)
        await self._do.change(delete(verdicts).where(verdicts.c.lineage_id == lineage_id))
        await self._do.change(delete(pauses).where(pauses.c.target == lineage_id))
        await self._do.change(delete(lineages).where(lineages.c.id == lineage_id))
        return MergeCounts(moved, counts["snapshots"], counts["artifacts"], counts["proofs"])

    async def _move_runs(self, lineage_id: LineageId, into: LineageId) -> int:
        """A slot is unique for its lineage and kind: where both have it, the one that joins is another attempt."""
        columns = (runs.c.id, runs.c.kind, runs.c.slot_key)
        taken = {(row.kind, row.slot_key) for row in await self._do.rows(select(*columns).where(_of(into)))}
        moving = await self._do.rows(select(*columns).where(_of(lineage_id)).order_by(runs.c.requested_at, runs.c.id))
        for row in moving:
            key = merged_slot_key(row.slot_key, frozenset(key for kind, key in taken if kind == row.kind))
            taken.add((row.kind, key))
            await self._do.change(update(runs).where(runs.c.id == row.id).values(lineage_id=into, slot_key=key))
        return len(moving)


def _of(lineage_id: LineageId) -> ColumnElement[bool]:
    return runs.c.lineage_id == lineage_id

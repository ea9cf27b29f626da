"""Runs whose process died: recognised by its lock, which the kernel let go of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from flykeep.domain.run import Run, RunState
from flykeep.jobs.runner import interrupted_outcome
from flykeep.ports.catalog import Catalog
from flykeep.ports.ownership import Owners

log = structlog.get_logger()


async def orphans_of(runs: Sequence[Run], owners: Owners) -> list[Run]:
    """Those that nobody alive will end: running, or set aside for one process, and that process is dead."""
    return [run for run in runs if await _is_orphan(run, owners)]


async def _is_orphan(run: Run, owners: Owners) -> bool:
    if run.state.is_final:
        return False
    if run.owner_id is None:
        return run.state is RunState.RUNNING
    return not await owners.is_alive(run.owner_id)


async def close_orphan(run: Run, catalog: Catalog, *, now: datetime) -> None:
    """End it as interrupted and say so; nothing happens where its process ended it after all, just before it died."""
    outcome = interrupted_outcome("the process executing it died")
    async with catalog.transaction() as tx:
        is_closed = await tx.finish(run.id, outcome=outcome, now=now)
    if is_closed:
        log.warning("run.interrupted", run=run.id, kind=run.kind.value, slot=run.slot.key, owner=run.owner_id)

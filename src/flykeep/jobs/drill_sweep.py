"""Removes the directories that drills of dead processes left on this machine: they hold contents in the clear."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from flykeep.domain.errors import StateError
from flykeep.domain.ids import RunId
from flykeep.domain.policy import JobKind
from flykeep.jobs.drill_place import ROOM
from flykeep.ports.catalog import Catalog
from flykeep.ports.drill_room import DrillRooms


@dataclass(frozen=True, slots=True)
class RoomLeftover:
    """The directory of one run, and what was done with it, or would be."""

    run_id: RunId
    action: str  # "remove" | "kept: <why>"


@dataclass(frozen=True, slots=True)
class DrillSweep:
    """A directory is removed where the journal of a drill that is over says that it was made."""

    rooms: DrillRooms
    catalog: Catalog

    async def sweep(self, dead: Collection[RunId], *, is_applied: bool) -> tuple[RoomLeftover, ...]:
        """`dead` are runs that are open in the catalog, and whose process is gone."""
        return tuple([await self._settle(run_id, is_applied=is_applied) for run_id in await self._over(dead)])

    async def _over(self, dead: Collection[RunId]) -> list[RunId]:
        over = []
        for run_id in await self.rooms.left():
            async with self.catalog.transaction() as tx:
                run = await tx.run(run_id)
                is_ours = run is not None and run.kind is JobKind.DRILL
                is_made = is_ours and any(step.name == ROOM for step in await tx.steps(run_id))
            if run is not None and is_made and (run.state.is_final or run_id in dead):
                over.append(run_id)
        return over

    async def _settle(self, run_id: RunId, *, is_applied: bool) -> RoomLeftover:
        if is_applied:
            try:
                await self.rooms.clear(run_id)
            except StateError as error:
                return RoomLeftover(run_id, f"kept: {error.message}")
        return RoomLeftover(run_id, "remove")

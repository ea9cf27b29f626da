"""Finds a target's volume again when Fly has moved it since the last check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from flykeep.domain.errors import FlyInvalidRequestError, FlyNotFoundError
from flykeep.domain.lineages import LineagePlan
from flykeep.domain.run import Outcome
from flykeep.domain.target import Lineage
from flykeep.jobs.context import TargetWork
from flykeep.jobs.runner import TargetJob
from flykeep.ports.fly import InventoryReader


@dataclass(frozen=True, slots=True)
class Located:
    """A job that starts from where its volume is now.

    A host migration gives the volume a new id and lets the old one linger as leaving: a run that trusted the id of the
    last check would be refused, and its slot lost.
    """

    job: TargetJob
    fly: InventoryReader
    refresh: Callable[[], Awaitable[LineagePlan]]

    async def run(self, work: TargetWork) -> Outcome:
        lineage = await Locator(self.fly, self.refresh).locate(work)
        return await self.job.run(replace(work, lineage=lineage))


@dataclass(frozen=True, slots=True)
class Locator:
    """Asks Fly whether a lineage's volume is still the one the last check saw."""

    fly: InventoryReader
    refresh: Callable[[], Awaitable[LineagePlan]]

    async def locate(self, work: TargetWork) -> Lineage:
        if await self._is_live(work.lineage):
            return work.lineage
        await work.journal.step("look where the volume is now", volume=work.lineage.volume_id)
        for state in (await self.refresh()).current:
            if state.lineage.id == work.lineage.id:
                return state.lineage
        return work.lineage  # nowhere: the job itself says what is wrong with it

    async def _is_live(self, lineage: Lineage) -> bool:
        try:
            volume = await self.fly.volume(lineage.app, lineage.volume_id)
        except (FlyNotFoundError, FlyInvalidRequestError):  # a vanished volume answers 404, 400 or 422
            return False
        return not volume.is_leaving

"""Finds and removes the temporary resources of runs that are over; tells of those nobody journalled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import FlyError, FlyNotFoundError
from flykeep.domain.ids import AppName, RunId
from flykeep.domain.run import Step
from flykeep.domain.scratch import MACHINE_PREFIX, VOLUME_PREFIX
from flykeep.jobs.scratch_removal import Remover, owner_of
from flykeep.jobs.scratch_steps import REMOVED, ScratchIntent, scratch_intents, unremoved
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.scratch import ScratchFly

_LIMIT = timedelta(minutes=10)
_BRIEF_LIMIT = timedelta(seconds=45)  # a daemon waits for it before its first tick


@dataclass(frozen=True, slots=True)
class ScratchLeftover:
    """What one run left in one app; `run_id` None for what looks like flykeep's and is not."""

    app: AppName
    action: str  # "remove" | "nothing left" | "kept: <why>"
    names: tuple[str, ...]
    run_id: RunId | None = None


@dataclass(frozen=True, slots=True)
class ScratchSweep:
    """Removes only what a journal names. `app` is where workers are made, None where none can be."""

    fly: ScratchFly
    catalog: Catalog
    clock: Clock
    app: AppName | None

    async def sweep(
        self, over: Sequence[RunId], alive: Sequence[RunId], *, is_applied: bool, is_thorough: bool = True
    ) -> tuple[ScratchLeftover, ...]:
        """`over` are runs that ended or died lately, `alive` those that somebody executes.

        Fly is asked only about what a journal names, unless it is to be `is_thorough`. A Fly that does not answer is
        asked again next time: it must not keep a daemon from starting.
        """
        steps = await self._steps([*over, *alive])
        open_intents = {run_id: intents for run_id in over if (intents := unremoved(steps[run_id]))}
        found: list[ScratchLeftover] = []
        try:
            async with asyncio.timeout((_LIMIT if is_thorough else _BRIEF_LIMIT).total_seconds()):
                for run_id in tuple(open_intents):
                    found.extend(await self._settle(run_id, open_intents[run_id], is_applied=is_applied))
                    del open_intents[run_id]
                if is_thorough:
                    names = {intent.name for one in steps.values() for intent in scratch_intents(one)}
                    found.extend(await self._look_alikes(names))
        except TimeoutError:
            found.extend(_kept(run_id, intents, "Fly does not answer") for run_id, intents in open_intents.items())
        return tuple(found)

    async def _steps(self, runs: Sequence[RunId]) -> Mapping[RunId, Sequence[Step]]:
        async with self.catalog.transaction() as tx:
            return {run_id: await tx.steps(run_id) for run_id in runs}

    async def _settle(
        self, run_id: RunId, intents: Sequence[ScratchIntent], *, is_applied: bool
    ) -> list[ScratchLeftover]:
        remover = Remover(self.fly, self.catalog, self.clock)
        try:
            found = await (remover.remove(intents) if is_applied else remover.find(intents))
        except FlyError as error:
            return [_kept(run_id, intents, error.message)]
        if is_applied and not found.unsure:
            await self._journal_removed(run_id)
        return [ScratchLeftover(app, "remove", names, run_id) for app, names in found.by_app.items()]

    async def _journal_removed(self, run_id: RunId) -> None:
        async with self.catalog.transaction() as tx:
            number = max(step.number for step in await tx.steps(run_id)) + 1
            await tx.add_step(Step(run_id, number, REMOVED, self.clock.now(), json.dumps({"by": "reconcile"})))

    async def _look_alikes(self, journalled: set[str]) -> list[ScratchLeftover]:
        """What is called or tagged as flykeep's and stands in no journal: another flykeep's, or somebody's joke."""
        if self.app is None:
            return []
        try:
            machines = await self.fly.machines(self.app)
            volumes = await self.fly.app_volumes(self.app)
        except FlyNotFoundError:
            return []  # the app is made with the first worker, or by `flykeep init`
        except FlyError as error:
            return [ScratchLeftover(self.app, f"kept: {error.message}", ())]
        names = [one.name for one in machines if one.name.startswith(MACHINE_PREFIX) or owner_of(one) is not None]
        names += [str(one.name) for one in volumes if one.name.startswith(VOLUME_PREFIX)]
        strange = tuple(name for name in names if name not in journalled)
        return [ScratchLeftover(self.app, "kept: no run of this flykeep made it", strange)] if strange else []


def _kept(run_id: RunId, intents: Sequence[ScratchIntent], why: str) -> ScratchLeftover:
    return ScratchLeftover(intents[0].app, f"kept: {why}", tuple(one.name for one in intents), run_id)

"""Removes a copy that did not come to its end, at once or after its process died; never what somebody else made."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import FlyError, FlykeepError, FlyNotFoundError, FlyPreconditionError, RefusalError
from flykeep.domain.fly import Machine
from flykeep.domain.ids import AppName, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Step
from flykeep.domain.scratch import CLOCK_TOLERANCE
from flykeep.jobs.context import Journal
from flykeep.jobs.copy_steps import LEFT_BEHIND, REMOVED, CopyIntent, unfinished_copy
from flykeep.jobs.scratch_removal import UNSURE_FOR
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock
from flykeep.ports.production import ProductionFly

_LOOK_BACK = timedelta(days=14)
_POLL_EVERY = timedelta(seconds=5)
_LIMIT = timedelta(minutes=2)  # below the daemon's drain_timeout


@dataclass(frozen=True, slots=True)
class CopyLeftover:
    """What one copy left in the app it was made in, and what was done with it, or would be."""

    run_id: RunId
    app: AppName
    volume: str
    action: str  # "remove" | "kept: <why>"


@dataclass(frozen=True, slots=True)
class CopyRemover:
    """Only the volume that Fly named in its answer is deleted, and only machines of journalled names that mount it."""

    fly: ProductionFly
    catalog: Catalog
    clock: Clock

    async def clean_up(self, journal: Journal) -> None:
        """Shielded from cancellation and bounded; what remains is journalled, and left to reconcile."""
        task = asyncio.ensure_future(self._clean_up(journal))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            raise

    async def _clean_up(self, journal: Journal) -> None:
        async with self.catalog.transaction() as tx:
            intent = unfinished_copy(await tx.steps(journal.run.id))
        if intent is None:
            return
        try:
            async with asyncio.timeout(_LIMIT.total_seconds()):
                await self.remove(intent)
        except (FlykeepError, TimeoutError) as error:
            await journal.step(LEFT_BEHIND, app=intent.app, volume=intent.volume_id, error=str(error) or "timed out")
            return
        await journal.step(REMOVED, app=intent.app, volume=intent.volume_id)

    async def sweep(self, dead: Collection[RunId], *, is_applied: bool) -> tuple[CopyLeftover, ...]:
        """`dead` are open runs whose process is gone; those that ended lately are looked at too."""
        async with self.catalog.transaction() as tx:
            runs = [run for run in await tx.runs(kind=JobKind.RESTORE, limit=1000) if run.request.to_app]
            recent = [run for run in runs if self.clock.now() - run.requested_at < _LOOK_BACK]
            over = [run.id for run in recent if run.state.is_final or run.id in dead]
            begun = {run_id: intent for run_id in over if (intent := unfinished_copy(await tx.steps(run_id)))}
        return tuple([await self._settle(run_id, intent, is_applied=is_applied) for run_id, intent in begun.items()])

    async def _settle(self, run_id: RunId, intent: CopyIntent, *, is_applied: bool) -> CopyLeftover:
        action = "remove"
        try:
            if is_applied:
                await self.remove(intent)
                await self._journal_removed(run_id)
            else:
                await self._refuse_unsure(intent)
        except FlykeepError as error:
            action = f"kept: {error.message}"
        return CopyLeftover(run_id, intent.app, str(intent.volume_id or intent.volume_name), action)

    async def remove(self, intent: CopyIntent) -> None:
        """Raises RefusalError for what may be somebody else's, FlyError where it could not be removed in time."""
        try:
            await self._refuse_unsure(intent)
            if intent.volume_id is not None:
                await self._remove_machines(intent)
                await self._delete(intent)
        except FlyNotFoundError:
            return  # the app is gone, and everything in it

    async def _refuse_unsure(self, intent: CopyIntent) -> None:
        """A volume's name is not unique, and it carries no tag: only an id that Fly gave us tells that it is ours."""
        if intent.is_found:
            raise RefusalError(f"{intent.volume_id} looks like the copy, and the answer that would tell was lost")
        if intent.volume_id is not None:
            return
        since = intent.at - CLOCK_TOLERANCE
        named = [one for one in await self.fly.app_volumes(intent.app) if one.name == intent.volume_name]
        young = ", ".join(one.id for one in named if one.created_at >= since)
        if young:
            raise RefusalError(f"Fly's answer was lost, and {young} may be the copy: delete it where nobody needs it")
        if self.clock.now() - intent.at < UNSURE_FOR:
            raise RefusalError("Fly's answer was lost, and the volume may still appear")

    async def _remove_machines(self, intent: CopyIntent) -> None:
        for machine in await self.fly.machines(intent.app):
            if intent.volume_id not in {mount.volume_id for mount in machine.mounts}:
                continue
            if machine.state in {"destroying", "destroyed"}:
                continue
            if machine.name not in intent.machine_names:
                raise RefusalError(f"machine {machine.name} of {intent.app} uses the volume by now")
            await self.fly.destroy_machine(intent.app, machine.id)
            await self._until_destroyed(machine)

    async def _until_destroyed(self, machine: Machine) -> None:
        with contextlib.suppress(FlyNotFoundError):  # Fly has forgotten it already
            if not await self.fly.wait_for_state(machine.app, machine.id, "destroyed", within=_LIMIT):
                raise FlyError("the machine is still there", facts={"app": machine.app, "machine": machine.id})

    async def _delete(self, intent: CopyIntent) -> None:
        """Fly notices late that a machine has gone, and refuses until then."""
        assert intent.volume_id is not None
        started = self.clock.monotonic()
        while True:
            try:
                await self.fly.delete_volume(intent.app, intent.volume_id)
            except FlyPreconditionError:
                if self.clock.monotonic() - started > _LIMIT.total_seconds():
                    raise
                await self.clock.sleep(_POLL_EVERY)
            else:
                return

    async def _journal_removed(self, run_id: RunId) -> None:
        async with self.catalog.transaction() as tx:
            number = max(step.number for step in await tx.steps(run_id)) + 1
            await tx.add_step(Step(run_id, number, REMOVED, self.clock.now(), json.dumps({"by": "reconcile"})))

"""Verbs submit a run and see it through: a living daemon executes it, else this process does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import NotFoundError
from flykeep.domain.ids import LineageId, OwnerId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Failure, Outcome, Run, RunRequest, RunState, Slot
from flykeep.jobs.orphans import close_orphan, orphans_of
from flykeep.jobs.runner import Runner, Watcher
from flykeep.ports.catalog import Catalog
from flykeep.ports.clock import Clock, IdSource
from flykeep.ports.ownership import Owners

_LOOK_EVERY = timedelta(milliseconds=300)


@dataclass(frozen=True, slots=True)
class Submission:
    """The door through which a person's wish becomes a run."""

    catalog: Catalog
    clock: Clock
    ids: IdSource
    owners: Owners
    runner: Runner

    @asynccontextmanager
    async def submitted(
        self, kind: JobKind, lineage_id: LineageId, request: RunRequest, *, is_local: bool
    ) -> AsyncIterator[Run]:
        """A pending manual run; with `is_local` one that nobody but this process can claim, while the context lasts."""
        if not is_local:
            yield await self._add(kind, lineage_id, request)
            return
        owner_id = self._new_owner()
        async with self.owners.hold(owner_id, is_daemon=False):
            yield await self._add(kind, lineage_id, request, owner_id=owner_id)

    async def _add(
        self, kind: JobKind, lineage_id: LineageId, request: RunRequest, *, owner_id: OwnerId | None = None
    ) -> Run:
        run_id = RunId(self.ids.run_id())
        now = self.clock.now()
        run = Run(
            id=run_id,
            kind=kind,
            lineage_id=lineage_id,
            slot=Slot.manual(run_id),
            state=RunState.PENDING,
            requested_at=now,
            due_at=now,
            request=request,
            owner_id=owner_id,
        )
        async with self.catalog.transaction() as tx:
            await tx.add_run(run)
        return run

    async def see_through(self, run: Run, *, watcher: Watcher) -> Run:
        """Return the run once it is final.

        A run for this process is executed here. With a daemon alive, any other one is only followed: cancelling that
        leaves it to the daemon. Where this process waits for its turn or executes, cancelling ends the run.
        """
        if run.owner_id is not None:
            return await self._execute_in_turn(run.id, run.owner_id, watcher)
        if await self.owners.is_daemon_alive():
            followed = await self._follow(run.id, watcher)
            if followed is not None:
                return followed
        owner_id = self._new_owner()
        async with self.owners.hold(owner_id, is_daemon=False):
            return await self._execute_in_turn(run.id, owner_id, watcher)

    def _new_owner(self) -> OwnerId:
        return OwnerId(f"verb-{self.ids.token()}")

    async def _follow(self, run_id: RunId, watcher: Watcher) -> Run | None:
        """The final run, or None where the daemon died before it took the run up."""
        shown = 0
        while True:
            shown = await self._show_steps(run_id, shown, watcher)
            run = await self._settled(run_id)
            if run.state.is_final:
                await self._show_steps(run_id, shown, watcher)
                return run
            if run.state is RunState.PENDING and not await self.owners.is_daemon_alive():
                return None
            await self.clock.sleep(_LOOK_EVERY)

    async def _execute_in_turn(self, run_id: RunId, owner_id: OwnerId, watcher: Watcher) -> Run:
        """Claim as soon as no other run of the lineage runs, and execute; follow where somebody else claims it."""
        try:
            run = await self._turn(run_id, owner_id)
        except asyncio.CancelledError:
            await asyncio.shield(self._give_up(run_id, owner_id))
            raise
        if not run.state.is_final:
            await self.runner.execute(run, watcher=watcher)
        return await self._settled(run_id)

    async def _turn(self, run_id: RunId, owner_id: OwnerId) -> Run:
        """The run as claimed by this process, or as it ended by another one."""
        while True:
            async with self.catalog.transaction() as tx:
                is_mine = await tx.claim(run_id, owner_id=owner_id, now=self.clock.now())
            run = await self._settled(run_id)
            if is_mine or run.state.is_final:
                return run
            await self._free_lineage(run.lineage_id)
            await self.clock.sleep(_LOOK_EVERY)

    async def _give_up(self, run_id: RunId, owner_id: OwnerId) -> None:
        """Take back what nobody has begun: without a daemon, nobody would until one starts."""
        failure = Failure("run.cancelled", "cancelled while it waited for its turn", "Start it again.", exit_code=8)
        async with self.catalog.transaction() as tx:
            run = await tx.run(run_id)
            if run is not None and (run.state is RunState.PENDING or run.owner_id == owner_id):
                await tx.finish(run_id, outcome=Outcome(RunState.CANCELLED, failure=failure), now=self.clock.now())

    async def _settled(self, run_id: RunId) -> Run:
        """The run as it stands; closed first where the process executing it is dead."""
        async with self.catalog.transaction() as tx:
            run = await tx.run(run_id)
        if run is None:
            raise NotFoundError(f"there is no run {run_id}")
        for orphan in await orphans_of([run], self.owners):
            await close_orphan(orphan, self.catalog, now=self.clock.now())
            return await self._settled(run_id)
        return run

    async def _free_lineage(self, lineage_id: LineageId) -> None:
        """A dead process's run must not keep the lineage for ever where no daemon reconciles."""
        async with self.catalog.transaction() as tx:
            open_runs = await tx.runs(lineage_id=lineage_id, is_open=True)
        for orphan in await orphans_of(open_runs, self.owners):
            await close_orphan(orphan, self.catalog, now=self.clock.now())

    async def _show_steps(self, run_id: RunId, shown: int, watcher: Watcher) -> int:
        if watcher.on_step is None:
            return shown
        async with self.catalog.transaction() as tx:
            steps = await tx.steps(run_id)
        for step in steps[shown:]:
            watcher.on_step(step)
        return len(steps)

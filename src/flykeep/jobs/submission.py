"""Verbs submit a run and see it through: a living daemon executes it, else this process does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flykeep.domain.errors import NotFoundError
from flykeep.domain.ids import LineageId, OwnerId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest, RunState, Slot
from flykeep.jobs.runner import Runner, Watcher, interrupted_outcome
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

    async def submit(self, kind: JobKind, lineage_id: LineageId, request: RunRequest) -> Run:
        """Insert a pending manual run."""
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
        )
        async with self.catalog.transaction() as tx:
            await tx.add_run(run)
        return run

    async def see_through(self, run: Run, *, is_local: bool, watcher: Watcher) -> Run:
        """Return the run once it is final.

        With a daemon alive and not `is_local`, it only follows: cancelling it leaves the run to the daemon. Otherwise
        this process waits for its turn and executes; cancelling it then interrupts the run.
        """
        owner_id = OwnerId(f"verb-{self.ids.token()}")
        if not is_local and await self.owners.is_daemon_alive():
            followed = await self._follow(run.id, watcher)
            if followed is not None:
                return followed
        async with self.owners.hold(owner_id, is_daemon=False):
            return await self._execute_in_turn(run.id, owner_id, watcher)

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
        while True:
            async with self.catalog.transaction() as tx:
                is_mine = await tx.claim(run_id, owner_id=owner_id, now=self.clock.now())
            run = await self._settled(run_id)
            if is_mine:
                await self.runner.execute(run, watcher=watcher)
                return await self._settled(run_id)
            if run.state.is_final:
                return run
            await self._free_lineage(run.lineage_id)
            await self.clock.sleep(_LOOK_EVERY)

    async def _settled(self, run_id: RunId) -> Run:
        """The run as it stands; closed first where the process executing it is dead."""
        async with self.catalog.transaction() as tx:
            run = await tx.run(run_id)
        if run is None:
            raise NotFoundError(f"there is no run {run_id}")
        if await self._is_orphan(run):
            await self._close(run)
            return await self._settled(run_id)
        return run

    async def _free_lineage(self, lineage_id: LineageId) -> None:
        """A dead process's run must not keep the lineage for ever where no daemon reconciles."""
        async with self.catalog.transaction() as tx:
            open_runs = await tx.runs(lineage_id=lineage_id, is_open=True)
        for run in open_runs:
            if await self._is_orphan(run):
                await self._close(run)

    async def _is_orphan(self, run: Run) -> bool:
        if run.state is not RunState.RUNNING:
            return False
        return run.owner_id is None or not await self.owners.is_alive(run.owner_id)

    async def _close(self, run: Run) -> None:
        outcome = interrupted_outcome("the process executing it died")
        async with self.catalog.transaction() as tx:
            await tx.finish(run.id, outcome=outcome, now=self.clock.now())

    async def _show_steps(self, run_id: RunId, shown: int, watcher: Watcher) -> int:
        if watcher.on_step is None:
            return shown
        async with self.catalog.transaction() as tx:
            steps = await tx.steps(run_id)
        for step in steps[shown:]:
            watcher.on_step(step)
        return len(steps)

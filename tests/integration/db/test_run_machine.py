"""The ledger of runs under any order of calls: never two running per lineage, and what is final stays final."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from flykeep.adapters.db.engine import SqlCatalog, open_catalog
from flykeep.domain.ids import LineageId, OwnerId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Outcome, Run, RunState
from flykeep.testing.contracts.catalog_samples import NOON, a_run, after
from tests.full import examples

LINEAGES = st.sampled_from([LineageId("a"), LineageId("b")])
MINUTES = st.integers(0, 4)
FINAL = st.sampled_from([state for state in RunState if state.is_final])


class Ledger(RuleBasedStateMachine):
    """The catalog beside a dictionary that says what it must hold."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="flykeep-ledger-")
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.expected: dict[RunId, Run] = {}
        self.now = NOON

    @initialize()
    def open(self) -> None:
        path = Path(self.folder.name) / "state.db"
        self.catalog: SqlCatalog = self.runner.run(self.stack.enter_async_context(open_catalog(f"sqlite:///{path}")))

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()
        self.folder.cleanup()

    @rule(target=ids, lineage=LINEAGES, slot=st.none() | MINUTES, due=MINUTES, kind=st.sampled_from(JobKind))
    def add(self, lineage: LineageId, slot: int | None, due: int, kind: JobKind) -> RunId:
        run = a_run(
            f"{len(self.expected):03d}",
            lineage_id=lineage,
            kind=kind,
            slot_at=None if slot is None else after(slot),
            due_at=after(due),
        )
        taken = {(one.kind, one.lineage_id, one.slot.key) for one in self.expected.values()}

        async def work() -> bool:
            async with self.catalog.transaction() as tx:
                return await tx.add_run(run)

        assert self.runner.run(work()) == ((run.kind, run.lineage_id, run.slot.key) not in taken)
        if (run.kind, run.lineage_id, run.slot.key) not in taken:
            self.expected[run.id] = run
        return run.id

    @rule(run_id=ids, owner=st.sampled_from(["one", "two"]))
    def claim(self, run_id: RunId, owner: str) -> None:
        async def work() -> bool:
            async with self.catalog.transaction() as tx:
                return await tx.claim(run_id, owner_id=OwnerId(owner), now=self.now)

        run = self.expected.get(run_id)
        may = run is not None and run.state is RunState.PENDING and run.lineage_id not in self.busy()
        assert self.runner.run(work()) == may
        if run is not None and may:
            claimed = replace(run, state=RunState.RUNNING, owner_id=OwnerId(owner), started_at=self.now)
            self.expected[run_id] = claimed

    @rule(run_id=ids, state=FINAL)
    def finish(self, run_id: RunId, state: RunState) -> None:
        async def work() -> bool:
            async with self.catalog.transaction() as tx:
                return await tx.finish(run_id, outcome=Outcome(state), now=self.now)

        run = self.expected.get(run_id)
        may = run is not None and not run.state.is_final
        assert self.runner.run(work()) == may
        if run is not None and may:
            self.expected[run_id] = replace(run, state=state, outcome=Outcome(state), ended_at=self.now)

    @rule(minutes=MINUTES)
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def a_transaction_is_lost(self) -> None:
        async def work() -> None:
            async with self.catalog.transaction() as tx:
                for run_id in self.expected:
                    await tx.claim(run_id, owner_id=OwnerId("lost"), now=self.now)
                    await tx.finish(run_id, outcome=Outcome(RunState.CANCELLED), now=self.now)
                raise ConnectionAbortedError

        with suppress(ConnectionAbortedError):
            self.runner.run(work())

    @invariant()
    def the_ledger_holds_what_it_must(self) -> None:
        async def work() -> tuple[dict[RunId, Run], list[RunId]]:
            async with self.catalog.transaction() as tx:
                found = {run.id: run for run in await tx.runs(limit=10_000)}
                return found, [run.id for run in await tx.claimable(now=self.now)]

        found, claimable = self.runner.run(work())
        assert found == self.expected
        running = [run.lineage_id for run in found.values() if run.state is RunState.RUNNING]
        assert len(running) == len(set(running))
        assert claimable == self.due()

    def busy(self) -> set[LineageId]:
        return {run.lineage_id for run in self.expected.values() if run.state is RunState.RUNNING}

    def due(self) -> list[RunId]:
        """Per free lineage the pending run that is due longest, oldest first."""
        waiting = sorted(
            (run.due_at, run.id, run.lineage_id)
            for run in self.expected.values()
            if run.state is RunState.PENDING and run.due_at <= self.now and run.lineage_id not in self.busy()
        )
        first: dict[LineageId, RunId] = {}
        for _, run_id, lineage in waiting:
            first.setdefault(lineage, run_id)
        return list(first.values())


Ledger.TestCase.settings = settings(
    max_examples=examples(25), stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTheLedgerOfRuns = Ledger.TestCase

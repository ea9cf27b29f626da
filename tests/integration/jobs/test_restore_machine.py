"""Restores among deaths, failing calls, deploys and lost hosts, in whatever order: hypothesis looks for a bad one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flykeep.domain.errors import FlyConflictError, FlyError, FlyUnavailableError
from flykeep.domain.fly import HostStatus
from flykeep.domain.restore_phases import RestorePhase
from tests.full import IS_EXHAUSTIVE, IS_FULL
from tests.integration.jobs.parts import parts_in
from tests.integration.jobs.restore_crashes import LATER, Crashes, Scene, crashes
from tests.integration.jobs.scratch_world import Reaper

LIVES = st.one_of(st.none(), st.integers(1, 200))  # at which moment the process dies
FAULTS = st.one_of(
    st.none(),
    st.tuples(st.integers(1, 60), st.sampled_from([FlyUnavailableError, FlyConflictError]), st.booleans()).filter(
        lambda fault: fault[1] is FlyUnavailableError or not fault[2]  # a refusal has no effect
    ),
)
Fault = tuple[int, type[FlyError], bool]


class Restores(RuleBasedStateMachine):
    """One app; a process lives for one rule, and its successor begins as daemons do, by looking what is left."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp())
        self.stack = contextlib.AsyncExitStack()
        self.made: Crashes = self.do(self.opened())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def opened(self) -> Crashes:
        parts = await self.stack.enter_async_context(parts_in(self.directory))
        made = await crashes(parts, Scene())
        async with parts.catalog.transaction() as tx:
            await tx.save_machine_config(
                made.old.id,
                lineage_id=made.target.id,
                config_json=made.old.facts().config_json or "",
                now=parts.clock.now(),
            )
        return made

    def born(self, at: int | None, fault: Fault | None) -> None:
        """A process that may die, before a Fly that may fail."""
        self.made.live()
        self.made.reaper = Reaper(at)
        if fault is not None:
            count, kind, is_after = fault
            self.made.fail_at(count, kind("by the machine"), is_after=is_after)
        if at is not None:
            self.made.watch.is_after_death = True

    async def closed(self) -> None:
        """What every process does first: runs of dead ones are closed."""
        self.made.live()
        await self.made.parts.reconcile.reconcile(is_applied=True)

    @property
    def phase(self) -> RestorePhase:
        record = self.do(self.made.record(self.made.began)) if self.made.began else None
        return record.phase if record else RestorePhase.OVER

    @precondition(lambda self: self.phase is RestorePhase.OVER and self.made.old.state != "destroyed")
    @rule(at=LIVES, fault=FAULTS)
    def restore(self, at: int | None, fault: Fault | None) -> None:
        self.do(self.closed())
        self.born(at, fault)
        self.do(self.made.run())

    @precondition(lambda self: self.phase is not RestorePhase.OVER)
    @rule(ending=st.sampled_from(["resume", "undo", "finalize"]), at=LIVES, fault=FAULTS)
    def end(self, ending: str, at: int | None, fault: Fault | None) -> None:
        self.do(self.closed())
        self.born(at, fault)
        self.do(self.made.end(ending, self.made.restore))

    @rule(at=LIVES, fault=FAULTS, hours=st.sampled_from([0, 1, 30]))
    def reconcile(self, at: int | None, fault: Fault | None, hours: int) -> None:
        self.do(self.closed())
        self.born(at, fault)
        with contextlib.suppress(BaseException) if at is not None else contextlib.suppress(FlyError):
            self.do(self.made.reconciled(after=timedelta(hours=hours)))

    @rule(which=st.integers(0, 1))
    def a_deploy_holds_a_machine(self, which: int) -> None:
        servers = self.made.watch.servers()
        server = servers[which % len(servers)]
        if self.made.fly.hold(server) is None:
            self.made.fly.hold_by_others(server)

    @rule()
    def the_old_machines_host_is_lost(self) -> None:
        if self.made.old.state != "destroyed":
            self.made.watch.hosts_return = True
            self.made.fly.set_host(self.made.old, HostStatus.UNREACHABLE)

    @rule()
    def hosts_come_back(self) -> None:
        for server in self.made.watch.servers():
            if server.host_status is HostStatus.UNREACHABLE:
                self.made.fly.set_host(server, HostStatus.OK)

    @invariant()
    def the_app_has_a_home(self) -> None:
        assert not self.made.watch.seen, sorted(set(self.made.watch.seen))

    def teardown(self) -> None:
        try:
            self.hosts_come_back()
            self.do(self.settled())
        finally:
            self.do(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.directory)

    async def settled(self) -> None:
        """However it went: a healthy Fly, two reconciliations and one person bring it to rest."""
        made = self.made
        await self.closed()
        await made.parts.clock.sleep(LATER)
        if made.began is not None:
            await made.repaired(made.restore, "resume")
            await made.reconciled(after=LATER)
            await made.assert_settled(made.restore)
            await made.finalized(made.restore)


TestRestores = pytest.mark.timeout(900)(Restores.TestCase)
TestRestores.settings = settings(
    max_examples=40 if IS_EXHAUSTIVE else 12 if IS_FULL else 6,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not IS_FULL,
    print_blob=True,
)

"""The whole application on a simulated Fly, both on one clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from flykeep.bootstrap import Application, open_application
from flykeep.domain.findings import FindingCode, Incident, Message
from flykeep.domain.ids import OwnerId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunState, Slot, Step
from flykeep.domain.target import ORG_LINEAGE, Lineage
from flykeep.jobs.check import CheckReport
from flykeep.ports.notifier import Notifier
from flykeep.settings import load_settings
from flykeep.testing.clock import CountedIds, ManualClock
from flykeep.testing.flysim.faults import Fault
from flykeep.testing.flysim.model import Machine, Volume
from flykeep.testing.flysim.scenario import AppSpec, MachineSpec, Scenario, Seed, SnapshotSpec, VolumeSpec
from flykeep.testing.flysim.serve import FlySim
from tests.databases import place_empty_database
from tests.flykit import driven

APP = "my-crocbot"
TARGET = f"{APP}/crocbot_data"
HOUR = timedelta(hours=1)
T = TypeVar("T")


def one_volume(*, ages_hours: tuple[float, ...] = (6.0,), **changes: Any) -> Scenario:
    """One app with one machine and one volume; fields of the volume may be changed."""
    fields: dict[str, Any] = {
        "name": "crocbot_data",
        "seed": Seed(kind="files", count=3),
        "snapshots": tuple(SnapshotSpec(age_hours=age) for age in ages_hours),
    }
    machine = MachineSpec(name="quiet-river-1", volume="crocbot_data")
    app = AppSpec(name=APP, machines=(machine,), volumes=(VolumeSpec(**(fields | changes)),))
    return Scenario(apps=(app,), rate_limits=False)


@dataclass
class Workplace:
    """One simulator, one application; `environ` is what the application was opened with."""

    sim: FlySim
    clock: ManualClock
    application: Application
    environ: dict[str, str]
    _slots: int = field(default=0)

    @property
    def volume(self) -> Volume:
        return self.sim.world.find_volume(APP, "crocbot_data")

    @property
    def machine(self) -> Machine:
        return self.sim.world.find_machine(APP)

    def arm(self, *faults: Fault) -> None:
        self.sim.faults.add(*faults)

    def asked(self, action: str) -> int:
        return sum(1 for request in self.sim.requests if request.action == action)

    async def driven(self, work: Awaitable[T], *, step: timedelta = timedelta(seconds=5)) -> T:
        return await driven(self.clock, work, step=step)

    async def pass_time(self, duration: timedelta) -> None:
        await self.clock.advance(duration)

    # -- runs

    async def lineage(self) -> Lineage:
        async with self.application.catalog.transaction() as tx:
            known = await tx.lineages(include_retired=True)
        if not known:
            plan = await self.driven(self.application.check.refresh_lineages())
            known = plan.saved
        return next(lineage for lineage in known if lineage.label == TARGET)

    async def begun(self, kind: JobKind, *, slot_at: datetime | None = None, attempt: int = 1) -> Run:
        """A run of the one target, claimed by this process: of the slot at that instant, else a manual one."""
        lineage_id = ORG_LINEAGE if kind in {JobKind.CHECK, JobKind.PRUNE} else (await self.lineage()).id
        now, run_id = self.clock.now(), RunId(self.application.ids.run_id())
        slot = Slot.scheduled(slot_at, attempt=attempt) if slot_at else Slot.manual(run_id)
        run = Run(run_id, kind, lineage_id, slot, RunState.PENDING, requested_at=now, due_at=now)
        async with self.application.catalog.transaction() as tx:
            assert await tx.add_run(run)
            assert await tx.claim(run_id, owner_id=OwnerId("test"), now=now)
            claimed = await tx.run(run_id)
        assert claimed is not None
        return claimed

    async def run(
        self,
        kind: JobKind,
        *,
        slot_at: datetime | None = None,
        attempt: int = 1,
        step: timedelta = timedelta(seconds=5),
    ) -> Run:
        """Execute one run to its end, as the daemon does, and give it as the catalog keeps it."""
        begun = await self.begun(kind, slot_at=slot_at, attempt=attempt)
        await self.driven(self.application.runner.execute(begun), step=step)
        async with self.application.catalog.transaction() as tx:
            ended = await tx.run(begun.id)
        assert ended is not None
        assert ended.state.is_final
        return ended

    async def steps(self, run: Run) -> list[Step]:
        async with self.application.catalog.transaction() as tx:
            return list(await tx.steps(run.id))

    async def step_names(self, run: Run) -> list[str]:
        return [step.name for step in await self.steps(run)]

    # -- checks and what people are told

    async def check(self) -> CheckReport:
        """Judge without telling anybody."""
        return await self.driven(self.application.check.evaluate())

    async def found(self) -> set[FindingCode]:
        return {finding.code for finding in (await self.check()).findings}

    async def check_and_tell(self) -> Run:
        """One check run as the daemon does it, then everything due delivered."""
        ended = await self.run(JobKind.CHECK)
        await self.deliver()
        return ended

    async def deliver(self) -> int:
        return await self.driven(self.application.outbox.deliver_due())

    async def incidents(self, *, is_open: bool | None = True) -> list[Incident]:
        async with self.application.catalog.transaction() as tx:
            return list(await tx.incidents(is_open=is_open))

    async def open_codes(self) -> list[str]:
        return sorted(incident.finding.code.value for incident in await self.incidents())


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds; for what only real sockets bring about."""
    while not condition():  # noqa: ASYNC110 - nothing tells a test when a request has arrived
        await asyncio.sleep(0.002)


class Inbox:
    """A notifier that keeps what it is sent, unless it is told to refuse."""

    def __init__(self, name: str, kinds: frozenset[Any]) -> None:
        self.name = name
        self.kinds = kinds
        self.messages: list[Message] = []
        self.refuse: Callable[[], Exception] | None = None
        self.attempts = 0

    async def send(self, message: Message) -> None:
        self.attempts += 1
        if self.refuse is not None:
            raise self.refuse()
        self.messages.append(message)

    def told(self) -> list[tuple[str, str]]:
        """Kind and code of every message, and forget them."""
        told = [(message.kind.value, message.code) for message in self.messages]
        self.messages.clear()
        return told


def inboxes(workplace: Workplace, *names: str) -> list[Inbox]:
    """Put an inbox in the place of each configured notifier of these names."""
    notifiers = workplace.application.outbox.notifiers
    assert isinstance(notifiers, dict)
    made = []
    for name in names:
        inbox = Inbox(name, notifiers[name].kinds)
        replacement: Notifier = inbox
        notifiers[name] = replacement
        made.append(inbox)
    return made


@asynccontextmanager
async def workplace(
    directory: Path,
    *,
    scenario: Scenario | None = None,
    edit: Callable[[str], str] = lambda text: text,
    environ: dict[str, str] | None = None,
    clock: ManualClock | None = None,
) -> AsyncIterator[Workplace]:
    """The application opened with the simulator's own configuration, changed by `edit`."""
    clock = clock or ManualClock()
    async with FlySim.start(
        state_directory=directory / "fly", clock=clock, ids=CountedIds(), scenario=scenario or one_volume()
    ) as sim:
        path = sim.write_config()
        path.write_text(edit(path.read_text()))
        place_empty_database(sim.directory / "flykeep.db")
        full = sim.environment() | (environ or {})
        settings = load_settings(path, full)
        async with open_application(settings, clock=clock, ids=CountedIds()) as application:
            yield Workplace(sim, clock, application, full)

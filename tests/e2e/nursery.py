"""Lives of flykeep daemons that a test ends, and what they left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flykeep.adapters.db.engine import open_catalog
from flykeep.bootstrap import open_application
from flykeep.domain.artifact import Artifact
from flykeep.domain.findings import Incident
from flykeep.domain.run import Run, RunState
from flykeep.settings import load_settings
from flykeep.testing.flysim.scenario import (
    AppSpec,
    MachineSpec,
    Progress,
    Scenario,
    Seed,
    SnapshotSpec,
    VolumeSpec,
)
from flykeep.testing.flysim.serve import FlySim
from tests.e2e.killing_daemon import Death, Order
from tests.flykit import Ended, Kit, flykeep

_LIMIT_S = 25
_LOOK_S = 0.02
_KINDS_BY_SCHEDULE = 5  # snapshot, export, check, reconcile, prune
_ROOT = Path(__file__).parents[2]

ONE_APP = Scenario(
    rate_limits=False,
    snapshot_progress=Progress(polls=1, seconds=None),
    apps=(
        AppSpec(
            name="shop",
            machines=(MachineSpec(name="calm-sea-1", volume="shop_data"),),
            volumes=(VolumeSpec(name="shop_data", seed=Seed(count=6), snapshots=(SnapshotSpec(age_hours=40),)),),
        ),
        AppSpec(name="attic", volumes=(VolumeSpec(name="boxes", protected=False, seed=Seed(kind="empty")),)),
    ),
)
"""One started machine, and a volume nobody protects, so that there is an incident from the first check on."""

_HOOKS = """
hooks.before_snapshot = { run = ["true"] }
hooks.after_snapshot = { run = ["true"] }
hooks.before_export = { run = ["true"] }

[daemon]
jitter = "0s"
"""


async def until(is_so: Callable[[], object]) -> None:
    """Return when it is so; fails where that takes too long."""
    async with asyncio.timeout(_LIMIT_S):
        while not is_so():  # noqa: ASYNC110 - it is told by other processes
            await asyncio.sleep(_LOOK_S)


class Nursery:
    """The program that forks daemons and verbs; one at a time."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environment["PYTHONPATH"] = f"{_ROOT / 'src'}:{_ROOT}"
        self._pid: int | None = None
        self._reading: asyncio.Future[str] | None = None
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.killing_daemon"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env=environment,
        )

    async def birth(self, order: Order) -> int:
        """The process id of the child that now executes the order."""
        assert self._program.stdin is not None
        self._program.stdin.write(order.to_line())
        self._program.stdin.flush()
        self._pid = int((await self._answer())["pid"])
        return self._pid

    async def end(self) -> int:
        """How the child ended: its exit code, or minus the number of the signal."""
        status = int((await self._answer())["status"])
        self._pid = None
        return status

    async def clear(self) -> None:
        """End the child that a failed test left."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            await self.end()

    async def _answer(self) -> dict[str, Any]:
        assert self._program.stdout is not None
        if self._reading is None:  # a reader that a time-out gave up on goes on reading
            self._reading = asyncio.ensure_future(asyncio.to_thread(self._program.stdout.readline))
        async with asyncio.timeout(_LIMIT_S):
            line = await asyncio.shield(self._reading)
        self._reading = None
        assert line, "the nursery is gone"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.close()
        self._program.wait(timeout=_LIMIT_S)
        self._program.stdout.close()


@dataclass
class Life:
    """One daemon's life and the log it wrote."""

    pid: int
    log: Path
    status: int | None = None

    @property
    def events(self) -> list[dict[str, Any]]:
        found = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one.get("event") == event]


@dataclass(frozen=True)
class Verb:
    """A verb that runs."""

    pid: int
    nursery: Nursery
    log: Path
    output: Path

    def said(self) -> str:
        return self.output.read_text() + self.log.read_text()

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        os.kill(self.pid, signal.SIGINT)

    async def ended(self) -> Ended:
        code = await self.nursery.end()
        return Ended(code, self.output.read_text(), self.log.read_text())


@dataclass(frozen=True)
class Left:
    """What the state holds when everything has come to rest."""

    runs: tuple[Run, ...]
    artifacts: tuple[Artifact, ...]
    incidents: tuple[Incident, ...]
    undelivered: int

    def of_slots(self) -> Iterator[tuple[Run, ...]]:
        """The attempts of each scheduled slot, first attempt first."""
        slots = {(run.kind, run.lineage_id, run.slot.scheduled_at) for run in self.runs if run.slot.scheduled_at}
        for slot in slots:
            attempts = [run for run in self.runs if (run.kind, run.lineage_id, run.slot.scheduled_at) == slot]
            yield tuple(sorted(attempts, key=lambda run: run.slot.attempt))

    def of_state(self, *states: RunState) -> list[Run]:
        return [run for run in self.runs if run.state in states]


@dataclass
class Household:
    """One simulator, one configuration, one state, and the daemons that live on it one after the other."""

    kit: Kit
    nursery: Nursery
    lives: list[Life] = field(default_factory=list)
    verbs: int = 0
    speed: int = 50  # of the clock that its processes have

    @property
    def sim(self) -> FlySim:
        return self.kit.sim

    @property
    def database(self) -> str:
        return f"sqlite+aiosqlite:///{self.sim.directory / 'flykeep.db'}"

    async def meet_volumes(self, *, ago: timedelta) -> None:
        """Know the volumes since then: whatever was to be done for them since is owed at the daemon's start."""
        settings = load_settings(self.kit.config, self.kit.environment)
        async with open_application(settings) as application:
            plan = await application.check.refresh_lineages()
            async with application.catalog.transaction() as tx:
                for lineage in plan.saved:
                    since = lineage.first_seen_at - ago
                    await tx.save_lineage(replace(lineage, first_seen_at=since))

    async def live(self, death: Death | None = None) -> Life:
        """A new daemon."""
        log = self.kit.directory / f"life-{len(self.lives)}.log"
        log.touch()
        order = Order(self.kit.environment, log=str(log), output=str(log), death=death, speed=self.speed)
        life = Life(await self.nursery.birth(order), log)
        self.lives.append(life)
        return life

    async def die(self, death: Death) -> Life:
        """A daemon that lived until it died where it should; fails where it came to another end."""
        life = await self.live(death)
        life.status = await self.nursery.end()
        assert life.status == -signal.SIGKILL, f"{death} was never met:\n{life.log.read_text()[-3000:]}"
        return life

    async def live_until_rest(self) -> Life:
        """A daemon that does everything due, is then asked to stop, and does."""
        life = await self.live()
        await until(lambda: self._is_at_rest(life))
        await self.stop(life)
        assert life.status == 0, life.log.read_text()[-3000:]
        return life

    async def stop(self, life: Life, number: signal.Signals = signal.SIGTERM) -> int:
        os.kill(life.pid, number)
        life.status = await self.nursery.end()
        return life.status

    async def verb(self, *words: str) -> Ended:
        """One verb to its end, as a child of the nursery."""
        return await (await self.begin(self.nursery, *words)).ended()

    async def begin(self, nursery: Nursery, *words: str, death: Death | None = None) -> Verb:
        """A verb that goes on while the test looks, or dies where it should."""
        self.verbs += 1
        log, output = (self.kit.directory / f"verb-{self.verbs}.{end}" for end in ("log", "out"))
        for path in (log, output):
            path.touch()
        order = Order(self.kit.environment, log=str(log), output=str(output), verb=words, death=death, speed=self.speed)
        return Verb(await nursery.birth(order), nursery, log, output)

    def _is_at_rest(self, life: Life) -> bool:
        if not life.logged("daemon.started"):
            return False
        with contextlib.closing(sqlite3.connect(self.sim.directory / "flykeep.db")) as database:
            kinds = database.execute(
                "SELECT DISTINCT kind FROM runs WHERE slot_at IS NOT NULL AND state IN ('succeeded', 'degraded')"
            ).fetchall()
            (busy,) = database.execute("SELECT count(*) FROM runs WHERE state IN ('pending', 'running')").fetchone()
            (waiting,) = database.execute("SELECT count(*) FROM deliveries WHERE delivered_at IS NULL").fetchone()
        return len(kinds) == _KINDS_BY_SCHEDULE and busy == 0 and waiting == 0

    async def left(self) -> Left:
        async with open_catalog(self.database) as catalog, catalog.transaction() as tx:
            return Left(
                tuple(await tx.runs(limit=1000)),
                tuple(await tx.artifacts()),
                tuple(await tx.incidents()),
                len(await tx.due_deliveries(now=datetime.max.replace(tzinfo=self.sim.world.now().tzinfo))),
            )

    def stored(self) -> set[str]:
        """The keys of all objects in the store."""
        root = self.sim.directory / "store"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@contextlib.asynccontextmanager
async def household(directory: Path, nursery: Nursery, *, known_for: timedelta) -> AsyncIterator[Household]:
    """A simulator with one app, its configuration, and nobody living there yet."""
    async with flykeep(directory, scenario=ONE_APP) as kit:
        with kit.config.open("a") as config:
            config.write(_HOOKS)
        home = Household(kit, nursery)
        await home.meet_volumes(ago=known_for)
        try:
            yield home
        finally:
            await nursery.clear()

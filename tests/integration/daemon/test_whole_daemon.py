"""The daemon assembled, in this process: it starts, works, is asked to stop, and stops."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from flykeep.adapters.system import SystemClock
from flykeep.bootstrap import open_application
from flykeep.daemon.assembly import run_daemon
from flykeep.jobs.delivery import Outbox
from flykeep.settings import load_settings
from flykeep.testing.flysim.faults import Fault, FaultKind
from flykeep.testing.flysim.scenario import AppSpec, Scenario, Seed, VolumeSpec
from tests.flykit import Kit, flykeep

EMPTY = Scenario(
    rate_limits=False,
    apps=(AppSpec(name="attic", volumes=(VolumeSpec(name="boxes", protected=False, seed=Seed(kind="empty")),)),),
)


class BriskClock(SystemClock):
    async def sleep(self, duration: timedelta) -> None:
        await super().sleep(duration / 50)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - it is told by logs and by another server
            await asyncio.sleep(0.01)


def said(logs: list[Any], event: str) -> int:
    return sum(line["event"] == event for line in logs)


async def whole_life(kit: Kit, logs: list[Any], *, when: Callable[[], object], signals: int = 1) -> None:
    settings = load_settings(kit.config, kit.environment)
    async with open_application(settings, clock=BriskClock()) as application:
        life = asyncio.create_task(run_daemon(application))
        await until(when)
        os.kill(os.getpid(), signal.SIGTERM)
        if signals > 1:
            await until(lambda: said(logs, "daemon.draining"))
            os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(60):
            await life
        assert not await application.owners.is_daemon_alive()


async def test_a_daemon_checks_at_once_and_stops_when_asked(tmp_path: Path, logs: list[Any]) -> None:
    async with flykeep(tmp_path, scenario=EMPTY) as kit:
        await whole_life(kit, logs, when=lambda: said(logs, "run.ended") == 2)
    events = [line["event"] for line in logs]
    assert events.index("daemon.started") < events.index("daemon.draining") < events.index("daemon.stopped")


async def test_a_second_signal_interrupts_at_once(tmp_path: Path, logs: list[Any]) -> None:
    async with flykeep(tmp_path, scenario=EMPTY) as kit:
        kit.sim.faults.add(Fault(kind=FaultKind.HANG, duration_s=600, times=0))
        await whole_life(kit, logs, when=lambda: kit.sim.faults.struck(FaultKind.HANG), signals=2)
    assert said(logs, "daemon.interrupting") == 1
    assert "interrupted" in [line["state"] for line in logs if line["event"] == "run.ended"]


async def test_messages_that_cannot_go_out_in_time_stay_for_the_next_start(
    tmp_path: Path, logs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flykeep.daemon.supervisor._LAST_MESSAGES_LIMIT", timedelta(milliseconds=10))

    async def never(_: Outbox) -> int:
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(Outbox, "deliver_due", never)
    async with flykeep(tmp_path, scenario=EMPTY) as kit:
        await whole_life(kit, logs, when=lambda: said(logs, "run.ended") == 2)
    assert said(logs, "daemon.messages_left") == 1

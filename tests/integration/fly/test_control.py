"""Holding, restarting and judging machines, over the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flykeep.adapters.fly.control import FlyControl
from flykeep.domain.errors import FlyConflictError, FlyPreconditionError, FlyUnavailableError
from flykeep.domain.fly import MachineCheck
from flykeep.testing.flysim.faults import Fault, FaultKind
from tests.integration.fly.simulated_fly import APP, SimulatedFly, simulated_fly

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SimulatedFly]:
    async with simulated_fly(tmp_path) as built:
        yield built


async def test_a_machine_nobody_holds_has_no_holder(world: SimulatedFly) -> None:
    assert await FlyControl(world.fly).lease_holder(APP, world.machine_id) is None


async def test_a_held_machine_names_its_holder_and_refuses_a_second_one(world: SimulatedFly) -> None:
    control = FlyControl(world.fly)

    lease = await control.acquire_lease(APP, world.machine_id, within=MINUTE, reason="import")

    assert await control.lease_holder(APP, world.machine_id) == "flysim@tokens.fly.io"
    assert lease.nonce
    assert lease.nonce not in repr(lease)
    with pytest.raises(FlyConflictError, match="lease currently held"):
        await control.acquire_lease(APP, world.machine_id, within=MINUTE, reason="another")


async def test_only_the_holder_restarts_a_held_machine(world: SimulatedFly) -> None:
    control = FlyControl(world.fly)
    lease = await control.acquire_lease(APP, world.machine_id, within=MINUTE, reason="import")
    before = len(world.machine.events)

    await control.restart_machine(lease)

    assert world.machine.state == "started"
    assert len(world.machine.events) > before


async def test_a_lease_is_renewed_by_who_holds_it_and_by_nobody_else(world: SimulatedFly) -> None:
    control = FlyControl(world.fly)
    lease = await control.acquire_lease(APP, world.machine_id, within=MINUTE, reason="import")
    assert world.machine.lease
    first_end = world.machine.lease.expires_at

    await control.renew_lease(lease, within=10 * MINUTE)

    assert world.machine.lease.expires_at > first_end
    with pytest.raises(FlyConflictError):
        await control.renew_lease(replace(lease, nonce="another"), within=MINUTE)
    await control.release_lease(lease)
    with pytest.raises(FlyPreconditionError):
        await control.renew_lease(lease, within=MINUTE)


async def test_a_lease_that_was_let_go_holds_nobody(world: SimulatedFly) -> None:
    control = FlyControl(world.fly)
    lease = await control.acquire_lease(APP, world.machine_id, within=MINUTE, reason="import")

    await control.release_lease(lease)
    await control.release_lease(lease)

    assert await control.lease_holder(APP, world.machine_id) is None
    with pytest.raises(FlyPreconditionError):
        await control.restart_machine(lease)


async def test_a_restart_is_never_sent_twice(world: SimulatedFly) -> None:
    control = FlyControl(world.fly)
    lease = await control.acquire_lease(APP, world.machine_id, within=MINUTE, reason="import")
    world.arm(Fault(kind=FaultKind.ERROR_AFTER, action="machine.restart", status=502, times=0))

    with pytest.raises(FlyUnavailableError):
        await control.restart_machine(lease)

    assert world.asked("machine.restart") == 1


async def test_checks_say_what_fly_saw_last(world: SimulatedFly) -> None:
    control = FlyControl(world.fly)
    assert await control.machine_checks(APP, world.machine_id) == ()
    world.machine.config["checks"] = {"alive": {"type": "tcp", "port": 3000}, "http": {"type": "http", "port": 3000}}
    world.machine.failing_checks.add("http")

    checks = await control.machine_checks(APP, world.machine_id)

    assert checks == (
        MachineCheck("alive", "passing", "200 OK"),
        MachineCheck("http", "critical", "connect: connection refused"),
    )
    assert [check.is_passing for check in checks] == [True, False]

"""Following a worker through exec: each line once, bad minutes survived, silence and an ended machine told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from flykeep.adapters.launchers.fly_machine import FlyMachineWorkers
from flykeep.adapters.launchers.wire import ExportedLine, FailureLine, Line, ProgressLine, encode_line
from flykeep.domain.artifact import StoredObject, TarTotals
from flykeep.domain.errors import (
    FlyConflictError,
    FlyForbiddenError,
    FlyPreconditionError,
    FlyUnavailableError,
    StoreError,
    WorkerError,
)
from flykeep.domain.fly import CommandResult, Machine
from flykeep.domain.ids import ExportId
from flykeep.ports.fly import SshAccess
from flykeep.ports.store import StoreOrder, StoreType
from flykeep.ports.worker import CompressionOrder, ExportOrder, ExportResult, Progress
from flykeep.testing.clock import JumpingClock
from tests.unit.domain.builders import machine

MACHINE = machine()
STORED = StoredObject("a/data", 4, "00" * 32)
RESULT = ExportResult((STORED,), STORED, TarTotals(1, 1, 1, 10, "22" * 32), (), (), (), "gnu", 0)
SECRET = "the-store's-secret-key"
ORDER = ExportOrder(
    export_id=ExportId("e"),
    key_prefix="a",
    access=SshAccess("nowhere", 22, "root", "key", "certificate"),
    directory="/snapshot",
    include=(),
    exclude=(),
    store=StoreOrder(name="offsite", type=StoreType.S3, secret_access_key=SECRET),
    recipients=(),
    index_recipient="age1",
    compression=CompressionOrder(),
    expected_bytes=None,
    deadline_s=3600.0,
)


@dataclass
class Exec:
    """A machine whose worker has said `said`; `errors` are raised first, one a call, and `piece` lines told a time."""

    said: list[Line] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    piece: int = 1
    state: str = "started"
    is_over: bool = True
    commands: list[tuple[str, ...]] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    always: Callable[[], Exception] | None = None

    async def machines(self, _app: str) -> tuple[Machine, ...]:
        return (replace(MACHINE, state=self.state),)

    async def execute_with_input(
        self, _app: str, _id: str, command: tuple[str, ...], *, stdin: str, within: timedelta
    ) -> CommandResult:
        assert within <= timedelta(seconds=60)
        self.commands.append(command)
        if self.errors:
            raise self.errors.pop(0)
        if self.always:
            raise self.always()
        if command[2] == "hand-in":
            self.orders.append(stdin)
            return CommandResult(0, '{"accepted": true}\n', "")
        start = int(command[-1])
        told = self.said[start : start + self.piece]
        lines = [json.loads(encode_line(line)) for line in told]
        answer = {"offset": start + len(told), "lines": lines, "is_over": self.is_over}
        return CommandResult(0, json.dumps(answer), "")


async def export(fly: Exec) -> tuple[ExportResult, list[Progress]]:
    seen: list[Progress] = []
    given: Any = fly
    result = await FlyMachineWorkers(given, clock=JumpingClock()).export(MACHINE, ORDER, on_progress=seen.append)
    return result, seen


def progress(number: int) -> ProgressLine:
    return ProgressLine(Progress("storing", number, number, number))


async def test_every_line_is_taken_once_and_in_order() -> None:
    fly = Exec([progress(1), progress(2), progress(3), ExportedLine(RESULT)], piece=2)
    result, seen = await export(fly)
    assert result == RESULT
    assert [one.entries for one in seen] == [1, 2, 3]


async def test_the_order_travels_on_standard_input_only() -> None:
    fly = Exec([ExportedLine(RESULT)])
    await export(fly)
    assert SECRET in fly.orders[0]
    assert SECRET not in str(fly.commands)
    assert SECRET not in str(FlyMachineWorkers(fly, clock=JumpingClock()).command(deadline_s=60))  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [FlyConflictError("lease"), FlyPreconditionError("412"), FlyUnavailableError("503")])
async def test_a_bad_minute_of_fly_is_survived(error: Exception) -> None:
    fly = Exec([ExportedLine(RESULT)], errors=[error, error, error])
    assert (await export(fly))[0] == RESULT


async def test_what_the_worker_reports_is_raised_as_what_it_is() -> None:
    fly = Exec([FailureLine("store.failed", "the disk is full", "make room", 6, {"key": "k"})])
    with pytest.raises(StoreError, match="the disk is full") as failed:
        await export(fly)
    assert (failed.value.next_step, failed.value.facts["key"]) == ("make room", "k")


async def test_a_worker_that_ends_without_a_result_has_failed() -> None:
    with pytest.raises(WorkerError, match="without a result"):
        await export(Exec([progress(1)]))


async def test_a_worker_that_never_gets_done_is_given_up() -> None:
    with pytest.raises(WorkerError, match="was not done within"):
        await export(Exec([progress(1)], is_over=False))


async def test_a_silent_worker_is_given_up_and_its_order_not_repeated_in_words() -> None:
    with pytest.raises(WorkerError, match="does not answer") as failed:
        await export(Exec(always=lambda: FlyUnavailableError("503")))
    assert SECRET not in str(failed.value)


async def test_an_ended_machine_is_not_waited_for() -> None:
    fly = Exec(always=lambda: FlyPreconditionError("not started"), state="stopped")
    with pytest.raises(WorkerError, match="machine is stopped"):
        await export(fly)
    assert len(fly.commands) == 1


async def test_a_refusal_that_will_not_pass_is_raised_at_once() -> None:
    fly = Exec(always=lambda: FlyForbiddenError("no"))
    with pytest.raises(FlyForbiddenError):
        await export(fly)
    assert len(fly.commands) == 1

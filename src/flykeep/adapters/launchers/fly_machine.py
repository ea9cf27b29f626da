"""Hands an order to a worker that stands in a machine of its own, and follows its report through exec.

A daemon that is started again does not adopt such a worker: reconcile removes its machine.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from flykeep.adapters.launchers.local import failure_of, nonsense
from flykeep.adapters.launchers.wire import (
    DrilledLine,
    ExportedLine,
    FailureLine,
    Line,
    ProgressLine,
    decode_line,
    encode_order,
)
from flykeep.domain.artifact import IndexEntry
from flykeep.domain.errors import (
    FlyConflictError,
    FlyError,
    FlyPreconditionError,
    FlyRateLimitedError,
    FlyUnavailableError,
    WorkerError,
)
from flykeep.domain.fly import CommandResult, Machine
from flykeep.ports.clock import Clock
from flykeep.ports.scratch import ScratchFly
from flykeep.ports.worker import DrillOrder, DrillResult, ExportOrder, ExportResult, Order, Progress

DIRECTORY = "/tmp/flykeep-worker"  # noqa: S108 - the worker's own machine has one user
_EXEC_LIMIT = timedelta(seconds=30)
_POLL_EVERY = timedelta(seconds=3)
_SILENCE_LIMIT = timedelta(minutes=5)
_MARGIN = timedelta(minutes=10)
_PASSING = (FlyConflictError, FlyPreconditionError, FlyRateLimitedError, FlyUnavailableError)
"""What exec answers while a lease is held, a machine comes up, or Fly has a bad minute."""
_OVER = frozenset({"stopping", "stopped", "destroying", "destroyed", "failed"})


class _Accepted(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    accepted: bool


class _Report(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    offset: int = Field(ge=0)
    lines: tuple[JsonValue, ...]
    is_over: bool


class FlyMachineWorkers:
    """`ports.machine_worker.MachineWorkers` by exec. The order travels on standard input only: it holds secrets."""

    def __init__(self, fly: ScratchFly, *, clock: Clock) -> None:
        self._fly = fly
        self._clock = clock

    def command(self, *, deadline_s: float) -> tuple[str, ...]:
        """What such a machine runs as its main process."""
        return ("flykeep", "worker", "stand", "--directory", DIRECTORY, "--deadline", str(int(deadline_s)))

    async def export(
        self, machine: Machine, order: ExportOrder, *, on_progress: Callable[[Progress], None]
    ) -> ExportResult:
        line = await self._carry_out(machine, order, on_progress)
        return line.result if isinstance(line, ExportedLine) else nonsense(line)

    async def drill(
        self, machine: Machine, order: DrillOrder, *, on_progress: Callable[[Progress], None]
    ) -> DrillResult:
        line = await self._carry_out(machine, order, on_progress)
        return line.result if isinstance(line, DrilledLine) else nonsense(line)

    async def _carry_out(self, machine: Machine, order: Order, on_progress: Callable[[Progress], None]) -> Line:
        """Raises what the worker reported; WorkerError where it is silent for too long or its machine has ended."""
        await self._hand_in(machine, encode_order(order).decode())
        deadline = timedelta(seconds=order.deadline_s) + _MARGIN
        async for line in self._lines(machine, within=deadline):
            if isinstance(line, ProgressLine):
                on_progress(line.progress)
            elif isinstance(line, FailureLine):
                raise failure_of(line)
            elif isinstance(line, IndexEntry):
                raise WorkerError("the worker answered with an index entry to another order", facts=_facts(machine))
            else:
                return line
        raise WorkerError("the worker ended without a result", facts=_facts(machine))

    async def _hand_in(self, machine: Machine, order: str) -> None:
        result = await self._ask(machine, "hand-in", stdin=order)
        if not _Accepted.model_validate_json(result.stdout).accepted:
            raise WorkerError("the worker took no order", facts=_facts(machine))

    async def _lines(self, machine: Machine, *, within: timedelta) -> AsyncIterator[Line | IndexEntry]:
        """Every line the worker reports, each once, until it is over."""
        started, offset = self._clock.monotonic(), 0
        while self._clock.monotonic() - started < within.total_seconds():
            result = await self._ask(machine, "report", "--from", str(offset))
            report = _Report.model_validate_json(result.stdout)
            for line in report.lines:
                yield decode_line(line.encode() if isinstance(line, str) else json.dumps(line).encode())
            is_news, offset = report.offset > offset, report.offset
            if report.is_over and not is_news:
                return
            if not is_news:
                await self._clock.sleep(_POLL_EVERY)
        raise WorkerError(f"the worker was not done within {within}", facts=_facts(machine))

    async def _ask(self, machine: Machine, verb: str, *words: str, stdin: str = "") -> CommandResult:
        """One exec that succeeded and answered; what may pass is tried again for a while."""
        command = ("flykeep", "worker", verb, "--directory", DIRECTORY, *words)
        started = self._clock.monotonic()
        while True:
            try:
                result = await self._fly.execute_with_input(
                    machine.app, machine.id, command, stdin=stdin, within=_EXEC_LIMIT
                )
                return _checked(result, verb, machine)
            except (*_PASSING, _NotYetError) as error:
                await self._raise_if_ended(machine)
                if self._clock.monotonic() - started > _SILENCE_LIMIT.total_seconds():
                    raise WorkerError(f"the worker does not answer: {error}", facts=_facts(machine)) from error
            await self._clock.sleep(_POLL_EVERY)

    async def _raise_if_ended(self, machine: Machine) -> None:
        try:
            states = {one.id: one.state for one in await self._fly.machines(machine.app)}
        except FlyError:
            return  # it cannot be asked either: the limit of silence decides
        if states.get(machine.id, "destroyed") in _OVER:
            raise WorkerError(
                f"the worker's machine is {states.get(machine.id, 'gone')} and gave no result", facts=_facts(machine)
            )


class _NotYetError(Exception):
    """The command did not succeed, or what it printed is not an answer."""


def _checked(result: CommandResult, verb: str, machine: Machine) -> CommandResult:
    if not result.is_success:
        raise _NotYetError(f"{verb} ended with {result.exit_code}: {result.stderr[-300:].strip()}")
    try:
        (_Accepted if verb == "hand-in" else _Report).model_validate_json(result.stdout)
    except ValidationError as error:
        raise _NotYetError(f"{verb} printed no answer on {machine.id}") from error
    return result


def _facts(machine: Machine) -> dict[str, str | int | None]:
    return {"app": machine.app, "machine": machine.id}

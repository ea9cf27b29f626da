"""Runs workers as children of this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from datetime import timedelta
from typing import NoReturn

from flykeep.adapters.child_environment import child_environment
from flykeep.adapters.launchers.wire import (
    AnyOrder,
    CleanedLine,
    DrilledLine,
    ExportedLine,
    ExtractedLine,
    FailureLine,
    ImportedLine,
    IndexedLine,
    InspectedLine,
    Line,
    PlacedLine,
    ProgressLine,
    ReachedLine,
    TriedLine,
    VerifiedLine,
    decode_line,
    encode_order,
)
from flykeep.domain.artifact import IndexEntry
from flykeep.domain.errors import FlykeepError, WorkerError
from flykeep.ports.cleaning import CleanOrder, CleanResult
from flykeep.ports.clock import Clock
from flykeep.ports.importing import ImportOrder, ImportResult, PlaceOrder, PlaceResult
from flykeep.ports.inspecting import InspectOrder, InspectResult
from flykeep.ports.store_trial import TrialOrder, TrialResult
from flykeep.ports.worker import (
    DrillOrder,
    DrillResult,
    ExportOrder,
    ExportResult,
    ExtractOrder,
    ExtractResult,
    IndexOrder,
    Progress,
    ReachOrder,
    ReachResult,
    VerifyOrder,
    VerifyResult,
)

_DEFAULT_COMMAND = (sys.executable, "-m", "flykeep.worker")
_GRACE = timedelta(seconds=45)  # longer than a worker takes to abort its upload by itself
_LINE_LIMIT_BYTES = 64 << 20  # a result names every file that changed
_LAST_WORDS_LINES = 20


class LocalWorkers:
    """`ports.worker.Workers` by child processes: the order on standard input, JSON lines back.

    Closing a child's standard input stops it; one that has not ended `grace` later is killed. The kernel closes it too
    when this process dies, however it dies.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        command: tuple[str, ...] = _DEFAULT_COMMAND,
        grace: timedelta = _GRACE,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._clock = clock
        self._command = command
        self._grace = grace
        self._environment = child_environment(environment)

    async def export(self, order: ExportOrder, *, on_progress: Callable[[Progress], None]) -> ExportResult:
        line = await self._finish(order, on_progress)
        return line.result if isinstance(line, ExportedLine) else nonsense(line)

    async def verify(self, order: VerifyOrder, *, on_progress: Callable[[Progress], None]) -> VerifyResult:
        line = await self._finish(order, on_progress)
        return line.result if isinstance(line, VerifiedLine) else nonsense(line)

    async def drill(self, order: DrillOrder, *, on_progress: Callable[[Progress], None]) -> DrillResult:
        line = await self._finish(order, on_progress)
        return line.result if isinstance(line, DrilledLine) else nonsense(line)

    async def extract(self, order: ExtractOrder, *, on_progress: Callable[[Progress], None]) -> ExtractResult:
        line = await self._finish(order, on_progress)
        return line.result if isinstance(line, ExtractedLine) else nonsense(line)

    async def reach(self, order: ReachOrder) -> ReachResult:
        line = await self._finish(order, lambda _: None)
        return line.result if isinstance(line, ReachedLine) else nonsense(line)

    async def try_store(self, order: TrialOrder) -> TrialResult:
        line = await self._finish(order, lambda _: None)
        return line.result if isinstance(line, TriedLine) else nonsense(line)

    async def stage(self, order: ImportOrder, *, on_progress: Callable[[Progress], None]) -> ImportResult:
        line = await self._finish(order, on_progress)
        return line.result if isinstance(line, ImportedLine) else nonsense(line)

    async def place(self, order: PlaceOrder) -> PlaceResult:
        line = await self._finish(order, lambda _: None)
        return line.result if isinstance(line, PlacedLine) else nonsense(line)

    async def inspect(self, order: InspectOrder, *, on_progress: Callable[[Progress], None]) -> InspectResult:
        line = await self._finish(order, on_progress)
        return line.result if isinstance(line, InspectedLine) else nonsense(line)

    async def clean(self, order: CleanOrder) -> CleanResult:
        line = await self._finish(order, lambda _: None)
        return line.result if isinstance(line, CleanedLine) else nonsense(line)

    @contextlib.asynccontextmanager
    async def index(self, order: IndexOrder) -> AsyncIterator[AsyncIterator[IndexEntry]]:
        """Stream the entries; leaving the context early stops the worker."""
        async with self._child(order) as child:
            yield _entries(child)

    async def _finish(self, order: AnyOrder, on_progress: Callable[[Progress], None]) -> Line:
        async with self._child(order) as child:
            async for line in child.lines():
                if isinstance(line, ProgressLine):
                    on_progress(line.progress)
                elif isinstance(line, FailureLine):
                    raise failure_of(line)
                elif not isinstance(line, IndexEntry):
                    return line
            raise await child.died()

    @contextlib.asynccontextmanager
    async def _child(self, order: AnyOrder) -> AsyncIterator[_Child]:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            limit=_LINE_LIMIT_BYTES,
            start_new_session=True,  # the terminal's Ctrl-C is for its parent, which stops it in order
        )
        child = _Child(process)
        try:
            await child.hand_over(encode_order(order))
            yield child
        finally:
            await _unbroken(child.stop(clock=self._clock, within=self._grace))


class _Child:
    """One worker process and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS_LINES)
        self._listener = asyncio.create_task(self._listen(process.stderr))

    async def hand_over(self, order: bytes) -> None:
        """A child that died already is noticed by its silence."""
        with contextlib.suppress(ConnectionError):
            self._stdin.write(order)
            await self._stdin.drain()

    async def lines(self) -> AsyncIterator[Line | IndexEntry]:
        """Every line until the output ends; raises WorkerError for nonsense."""
        while True:
            try:
                raw = await self._stdout.readline()
            except ValueError as error:
                raise WorkerError("the worker wrote a line without end") from error
            if not raw.endswith(b"\n"):
                return
            yield decode_line(raw)

    async def died(self) -> WorkerError:
        """The error for a worker whose output ended without a result."""
        await self._process.wait()
        await self._listener
        words = " | ".join(self._last_words)
        code = self._process.returncode
        return WorkerError(
            f"the worker ended with {code} and no result{f': {words}' if words else ''}", facts={"exit_code": code}
        )

    async def stop(self, *, clock: Clock, within: timedelta) -> None:
        """Close its standard input, wait, kill if it must be; reaps the process and ends the listener."""
        self._stdin.close()
        drain = asyncio.create_task(self._drain())
        ended = asyncio.create_task(self._process.wait())
        patience = asyncio.create_task(clock.sleep(within))
        await asyncio.wait({ended, patience}, return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()
        if not ended.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await asyncio.gather(ended, patience, drain, self._listener, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await self._stdin.wait_closed()

    async def _drain(self) -> None:
        """A worker that is stopping must not block on words that nobody reads."""
        while await self._stdout.read(65536):
            pass

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        while piece := await stderr.read(65536):
            self._last_words.extend(piece.decode("utf-8", "backslashreplace").splitlines())


async def _entries(child: _Child) -> AsyncIterator[IndexEntry]:
    async for line in child.lines():
        if isinstance(line, IndexEntry):
            yield line
        elif isinstance(line, FailureLine):
            raise failure_of(line)
        elif isinstance(line, IndexedLine):
            return
    raise await child.died()


async def _unbroken(work: Coroutine[object, object, None]) -> None:
    """Let clean-up finish although the task is cancelled; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def failure_of(line: FailureLine) -> FlykeepError:
    """The reported failure as the class that carries its code; WorkerError where this version knows none."""
    known = {cls.code: cls for cls in _classes(FlykeepError)}
    cls = known.get(line.code, WorkerError)
    error = cls.__new__(cls, line.message)
    FlykeepError.__init__(error, line.message, hint=line.hint, facts=line.facts)
    return error


def _classes(root: type[FlykeepError]) -> Iterator[type[FlykeepError]]:
    yield root
    for cls in root.__subclasses__():
        yield from _classes(cls)


def nonsense(line: Line) -> NoReturn:
    """A result of another kind than the order's."""
    raise WorkerError(f"the worker answered with a {type(line).__name__} to another order")

"""A nursery of flykeep processes: forks one per order, and lets a daemon kill itself at a chosen call of a port.

Everything is imported once, so that a child lives within milliseconds. A child is flykeep as it is, built by bootstrap,
on a clock that runs faster; an order that names a death wraps the ports bootstrap hands out, and the process ends
itself with SIGKILL before, after, or at the commit of the n-th such call. Nothing in flykeep knows of it.

Orders and answers are JSON lines: `{"pid": ...}` when the child lives, `{"status": ...}` when it is over.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog

from flykeep.adapters.system import SystemClock
from flykeep.bootstrap import application, ground, open_application, workers
from flykeep.cli.logs import configure_logs
from flykeep.cli.main import main as flykeep_main
from flykeep.daemon.assembly import run_daemon
from flykeep.domain.errors import FlykeepError
from flykeep.settings import load_settings

_SPEED = 50


@dataclass(frozen=True)
class Death:
    """Where to die: `when` is before, after, during, or committed (the transaction of the call).

    `call` `*` is any call, whenever but before: that is the same moment as after the last one.
    `kind` is that of the run that makes the call, `key` the end of a store's key.
    """

    when: str
    call: str
    kind: str | None = None
    key: str = ""
    count: int = 1


@dataclass(frozen=True)
class Order:
    """A daemon (`verb` empty) or a verb, in the environment given; standard error and output go to files."""

    environment: dict[str, str]
    log: str
    output: str
    verb: tuple[str, ...] = ()
    death: Death | None = None
    speed: int = _SPEED

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of(cls, line: str) -> Order:
        read = json.loads(line)
        death = Death(**read.pop("death")) if read["death"] else None
        return cls(**(read | {"death": death, "verb": tuple(read["verb"])}))


class QuickClock(SystemClock):
    """Hours of waiting pass in minutes; what the time of day is stays true."""

    speed = _SPEED

    def monotonic(self) -> float:
        return super().monotonic() * self.speed

    async def sleep(self, duration: timedelta) -> None:
        await super().sleep(duration / self.speed)


@dataclass
class Reaper:
    """Counts calls and ends the process at the wanted one."""

    death: Death
    seen: int = 0

    def saw(self, when: str, call: str, *arguments: object) -> None:
        wanted = self.death
        kind = structlog.contextvars.get_contextvars().get("kind")
        is_wanted = (wanted.call == "*" and when != "before") or (
            (when, call) == (wanted.when, wanted.call)
            and wanted.kind in {None, kind}
            and any(isinstance(one, str) and one.endswith(wanted.key) for one in ("", *arguments))
        )
        self.seen += is_wanted
        if is_wanted and self.seen == wanted.count:
            os.kill(os.getpid(), signal.SIGKILL)


class Watched:
    """A port of ours whose calls are seen; everything else goes through."""

    def __init__(self, inner: Any, name: str, reaper: Reaper, *, log: list[str] | None = None) -> None:
        self._inner, self._name, self._reaper, self._log = inner, name, reaper, log

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._inner, method)
        if not inspect.iscoroutinefunction(found):
            return found
        call = f"{self._name}.{method}"

        async def watched(*arguments: Any, **named: Any) -> Any:
            if "on_progress" in named:
                named["on_progress"] = self._progress(call, named["on_progress"])
            self._reaper.saw("before", call, *arguments)
            result = await found(*arguments, **named)
            self._reaper.saw("after", call, *arguments)
            if self._log is not None:
                self._log.append(call)
            return result

        return watched

    def _progress(self, call: str, tell: Callable[[Any], None]) -> Callable[[Any], None]:
        def watched(progress: Any) -> None:
            tell(progress)
            self._reaper.saw("during", call, progress.phase)

        return watched


class WatchedCatalog(Watched):
    def transaction(self) -> AbstractAsyncContextManager[Any]:
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        calls: list[str] = []
        async with self._inner.transaction() as tx:
            yield Watched(tx, "tx", self._reaper, log=calls)
        for call in calls:
            self._reaper.saw("committed", call)


def watch_ports(reaper: Reaper) -> None:
    """From here on bootstrap hands out watched ports."""
    real_catalog, real_notifiers = application.open_catalog, application.notifiers

    @asynccontextmanager
    async def catalog(url: str) -> AsyncIterator[Any]:
        async with real_catalog(url) as opened:
            yield WatchedCatalog(opened, "catalog", reaper)

    def built(name: str, kind: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **named: Watched(kind(*arguments, **named), name, reaper)

    replaced: tuple[tuple[ModuleType, str, Any], ...] = (
        (application, "open_catalog", catalog),
        (application, "FlyClient", built("fly", application.FlyClient)),
        (application, "FlyScratch", built("scratch", application.FlyScratch)),
        (workers, "FlyMachineWorkers", built("machine_workers", workers.FlyMachineWorkers)),
        (ground, "LocalWorkers", built("workers", ground.LocalWorkers)),
        (ground, "RetryingStore", built("store", ground.RetryingStore)),
        (ground, "FlyProduction", built("production", ground.FlyProduction)),
        (
            application,
            "notifiers",
            lambda *given: {name: Watched(one, "notifier", reaper) for name, one in real_notifiers(*given).items()},
        ),
    )
    for module, name, value in replaced:
        setattr(module, name, value)


async def daemon() -> None:
    configure_logs(is_verbose=True, is_daemon=True)
    settings = load_settings(Path(os.environ["FLYKEEP_CONFIG"]), os.environ)
    async with open_application(settings) as opened:
        await run_daemon(opened)


def live(order: Order) -> int:
    """The child's life."""
    for path, number in ((order.output, 1), (order.log, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order.environment)
    application.SystemClock = QuickClock  # type: ignore[misc]
    QuickClock.speed = order.speed
    reaper = Reaper(order.death) if order.death is not None else None
    if reaper is not None:
        watch_ports(reaper)
    if order.verb:
        sys.argv = ["flykeep", *order.verb]
        try:
            flykeep_main()
        finally:
            if reaper is not None:
                sys.stderr.write(f"\nmoments: {reaper.seen}\n")
        return 0
    try:
        asyncio.run(daemon())
    except FlykeepError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def main() -> None:
    gc.freeze()  # so that looking for garbage does not copy every page into each child
    for line in sys.stdin:
        order = Order.of(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = live(order)
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:  # noqa: BLE001 - the last frame of a process
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        print(json.dumps({"pid": child}), flush=True)
        print(json.dumps({"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}), flush=True)


if __name__ == "__main__":
    main()

"""Verbs that act submit a run, follow or execute it, and answer with its outcome."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TaskID

from flykeep.cli.context import Common, console, errors_console, print_document
from flykeep.cli.render import bytes_text
from flykeep.domain.documents import Plain, plain
from flykeep.domain.ids import RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest, RunState, Step
from flykeep.domain.target import Lineage
from flykeep.jobs.runner import Watcher
from flykeep.ports.worker import Progress

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_EXIT_BY_STATE = {
    RunState.SUCCEEDED: 0,
    RunState.DEGRADED: 9,
    RunState.INTERRUPTED: 8,
    RunState.CANCELLED: 8,
    RunState.REFUSED: 4,
}


async def act(
    application: Application,
    options: Common,
    *,
    kind: JobKind,
    lineage: Lineage,
    request: RunRequest,
    is_local: bool,
    is_waiting: bool = True,
) -> tuple[Run, int]:
    """Submit, see it through with what happens shown, and give the run and the exit code it stands for."""
    out = console(options)
    run = await application.submission.submit(kind, lineage.id, request)
    if not is_waiting:
        return run, 0
    view = _View(out, kind)
    try:
        with view.bar:
            final = await application.submission.see_through(run, is_local=is_local, watcher=view.watcher())
    except asyncio.CancelledError:
        await _explain_stop(application, out, run.id)
        raise
    return final, exit_code(final)


def exit_code(run: Run) -> int:
    """What a finished run means for the shell."""
    failure = run.outcome.failure if run.outcome else None
    if run.state in _EXIT_BY_STATE:
        return _EXIT_BY_STATE[run.state]
    return failure.exit_code if failure else 1


def run_document(run: Run) -> dict[str, Plain]:
    """A run as the JSON contract shows it."""
    outcome = run.outcome
    document: dict[str, Plain] = {
        "run_id": run.id,
        "kind": run.kind.value,
        "state": run.state.value,
        "requested_at": plain(run.requested_at),
        "started_at": plain(run.started_at),
        "ended_at": plain(run.ended_at),
        "result": json.loads(outcome.result_json) if outcome else None,
        "error": None,
    }
    if outcome and outcome.failure:
        failure = outcome.failure
        document["error"] = {
            "code": failure.code,
            "message": failure.message,
            "hint": failure.hint,
            "facts": dict(failure.facts),
            "exit_code": failure.exit_code,
        }
    return document


def report(run: Run, options: Common, *, extra: dict[str, Plain] | None = None) -> None:
    """Print how a run ended: the document with `--json`, else its failure and hint where it has one."""
    if options.is_json:
        print_document(run_document(run) | (extra or {}))
    failure = run.outcome.failure if run.outcome else None
    if failure is None:
        return
    out = errors_console()
    facts = " ".join(f"{name}={value}" for name, value in failure.facts)
    out.print(f"[bold red]{run.state.value}[/] {failure.code}: ", end="")
    out.print(f"{failure.message}" + (f" ({facts})" if facts else ""), markup=False)
    out.print("  next: ", end="", style="bold")
    out.print(failure.hint, markup=False)


async def _explain_stop(application: Application, out: Console, run_id: RunId) -> None:
    async with application.catalog.transaction() as tx:
        run = await tx.run(run_id)
    if run is not None and not run.state.is_final:
        out.print(f"detached: run {run_id} goes on in the daemon. Follow it with `flykeep runs {run_id}`.")
    else:
        out.print(f"interrupted: run {run_id} was stopped.")


class _View:
    """Steps as lines, bytes as a bar on a terminal and as lines elsewhere."""

    def __init__(self, out: Console, kind: JobKind) -> None:
        self._out, self._kind = out, kind
        self.bar = Bar(console=out, transient=True, disable=not out.is_terminal)
        self._task: TaskID | None = None

    def watcher(self) -> Watcher:
        return Watcher(on_step=self._step, on_progress=self._progress)

    def _step(self, step: Step) -> None:
        detail = json.loads(step.detail) if step.detail.startswith("{") else {}
        text = ", ".join(f"{name} {value}" for name, value in detail.items())
        self._out.print(f"  {step.at:%H:%M:%S} {step.name}" + (f": {text}" if text else ""), style="dim", markup=False)

    def _progress(self, progress: Progress) -> None:
        if self._task is None:
            self._task = self.bar.add_task(self._kind.value, total=None)
        read, stored = bytes_text(progress.tar_bytes), bytes_text(progress.stored_bytes)
        self.bar.update(self._task, description=f"{progress.phase}: {read} read, {stored} stored")

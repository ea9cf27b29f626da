"""Verbs that act submit a run, follow or execute it, and answer with its outcome."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flykeep.cli.context import Common, console, errors_console, print_document, print_failure
from flykeep.cli.progress import ProgressView
from flykeep.domain.documents import Plain, plain
from flykeep.domain.errors import RefusalError, UsageError
from flykeep.domain.ids import LineageId, RunId
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest, RunState
from flykeep.domain.target import Lineage

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

NO_WAIT = Annotated[bool, typer.Option("--no-wait", help="Hand it to the living daemon and return at once.")]
LOCAL = Annotated[bool, typer.Option("--local", help="Execute it in this process even where a daemon lives.")]

EXIT_DEGRADED = 9

_EXIT_BY_STATE = {
    RunState.SUCCEEDED: 0,
    RunState.DEGRADED: EXIT_DEGRADED,
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
    """Submit, see it through with what happens shown, and give the run and the exit code it stands for.

    Raises RefusalError where nobody waits and no daemon lives: a run that nobody executes is a false promise.
    """
    return await act_on(
        application,
        options,
        kind=kind,
        lineage_id=lineage.id,
        label=lineage.label,
        request=request,
        is_local=is_local,
        is_waiting=is_waiting,
    )


async def act_on(
    application: Application,
    options: Common,
    *,
    kind: JobKind,
    lineage_id: LineageId,
    label: str,
    request: RunRequest,
    is_local: bool,
    is_waiting: bool = True,
) -> tuple[Run, int]:
    """As `act`, for what is not one target's."""
    if not is_waiting:
        await _require_daemon(application, is_local=is_local)
    out = console(options)
    submission = application.submission
    async with submission.submitted(kind, lineage_id, request, is_local=is_local and is_waiting) as run:
        if not is_waiting:
            return run, 0
        try:
            with ProgressView(out, f"{kind.value} of {label}") as view:
                final = await submission.see_through(run, watcher=view.watcher())
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
    message = f"{failure.code}: {failure.message}" + (f" ({facts})" if facts else "")
    print_failure(out, run.state.value, message, failure.hint)


async def _require_daemon(application: Application, *, is_local: bool) -> None:
    if is_local:
        raise UsageError("--no-wait and --local exclude each other", hint="Leave one of them out.")
    if not await application.owners.is_daemon_alive():
        raise RefusalError(
            "no daemon lives that would execute it, so nothing was submitted",
            hint="Leave --no-wait out and this command executes it, or start the daemon with `flykeep run`.",
        )


async def _explain_stop(application: Application, out: Console, run_id: RunId) -> None:
    async with application.catalog.transaction() as tx:
        run = await tx.run(run_id)
    if run is not None and not run.state.is_final:
        out.print(f"detached: run {run_id} goes on in the daemon. Follow it with `flykeep runs {run_id}`.")
    else:
        out.print(f"interrupted: run {run_id} was stopped.")

"""`flykeep import TARGET FILE|--artifact ID`: files into the running machine; `import confirm|undo RUN` end one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flykeep.cli.acting import act, report
from flykeep.cli.asking import confirm
from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import bytes_text
from flykeep.cli.targets import find_lineage, rule_for_lineage
from flykeep.domain.documents import Plain, plain
from flykeep.domain.errors import NotFoundError, UsageError
from flykeep.domain.ids import RunId
from flykeep.domain.import_plan import ImportPlan
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest, RunState
from flykeep.domain.target import Lineage

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_ENDINGS = ("confirm", "undo")


def register(app: typer.Typer) -> None:
    @app.command(name="import")
    def import_(
        ctx: typer.Context,
        target: Annotated[
            str, typer.Argument(metavar="TARGET", help="app/volume or app/volume@machine; or `confirm` or `undo`.")
        ],
        file: Annotated[
            str | None,
            typer.Argument(
                metavar="[FILE|RUN]",
                help="A .tar, .tar.gz or .tar.zst on this computer; after `confirm` or `undo` the import's run.",
            ),
        ] = None,
        artifact: Annotated[
            str | None, typer.Option("--artifact", metavar="ID", help="Import this artifact instead of a file.")
        ] = None,
        path: Annotated[
            list[str] | None,
            typer.Option(help="Import only paths that match this glob, from the archive's root; may be repeated."),
        ] = None,
        no_restart: Annotated[bool, typer.Option("--no-restart", help="Leave the machine running as it is.")] = False,
        plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and stop.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        reason: Annotated[str | None, typer.Option(help="Why it is done; kept with the run.")] = None,
        local: Annotated[
            bool,
            typer.Option("--local", help="Execute it in this process even where a daemon lives; always so for files."),
        ] = False,
    ) -> None:
        """Bring files back into the running machine, the old ones kept beside until `import confirm RUN`."""
        is_restarting = not no_restart
        if target in _ENDINGS:
            ending = RunRequest(reason=reason, ending=target, of_run=file, is_restarting=is_restarting)

            async def end(application: Application, options: Common) -> int:
                if file is None or artifact or path or plan:
                    raise UsageError(f"`import {target}` takes the run of an import", hint="See `flykeep runs`.")
                return await _end(application, options, ending, is_local=local, is_agreed=yes)

            with_application(ctx, end)
        request = RunRequest(
            reason=reason,
            paths=tuple(path or ()),
            export_id=artifact,
            file=str(Path(file).absolute()) if file else None,
            is_restarting=is_restarting,
        )

        async def action(application: Application, options: Common) -> int:
            return await _import(application, options, target, request, is_local=local, is_agreed=yes, is_plan=plan)

        with_application(ctx, action)


async def _import(
    application: Application,
    options: Common,
    target: str,
    request: RunRequest,
    *,
    is_local: bool,
    is_agreed: bool,
    is_plan: bool,
) -> int:
    lineage = await find_lineage(application, target)
    if request.file is not None and not Path(request.file).is_file():  # noqa: ASYNC240 - one look, before anything runs
        raise NotFoundError(f"there is no file {request.file}", hint="Check its path.")
    if is_plan or not is_agreed:
        rule = rule_for_lineage(application, lineage)
        planned = await application.import_planner.plan(lineage, rule, request)
        if is_plan and options.is_json:
            print_document({"plan": _plan_document(planned)})
            return 0
        _print_plan(options, planned)
    if is_plan:
        return 0
    confirm(f"Import into {lineage.label}?", is_yes=is_agreed)
    is_local = is_local or request.file is not None  # the file is on this computer
    run, code = await act(
        application, options, kind=JobKind.IMPORT, lineage=lineage, request=request, is_local=is_local
    )
    report(run, options, extra={"import_id": run.id})
    if not options.is_json:
        _print_result(options, run)
    return code


async def _end(
    application: Application, options: Common, request: RunRequest, *, is_local: bool, is_agreed: bool
) -> int:
    lineage = await _lineage_of(application, RunId(request.of_run or ""))
    question = {
        "confirm": f"Remove for good what import {request.of_run} replaced on {lineage.label}?",
        "undo": f"Bring back what import {request.of_run} replaced on {lineage.label}?",
    }
    confirm(question[request.ending or ""], is_yes=is_agreed)
    run, code = await act(
        application, options, kind=JobKind.IMPORT, lineage=lineage, request=request, is_local=is_local
    )
    report(run, options, extra={"import_id": request.of_run})
    if not options.is_json:
        _print_result(options, run)
    return code


async def _lineage_of(application: Application, run_id: RunId) -> Lineage:
    async with application.catalog.transaction() as tx:
        run = await tx.run(run_id)
        lineages = {lineage.id: lineage for lineage in await tx.lineages(include_retired=True)}
    if run is None or run.kind is not JobKind.IMPORT or run.lineage_id not in lineages:
        raise NotFoundError(f"there is no import {run_id}", hint="`flykeep runs` lists them.")
    return lineages[run.lineage_id]


def _plan_document(planned: ImportPlan) -> dict[str, Plain]:
    return {
        "source": planned.source,
        "app": planned.machine.app,
        "machine": planned.machine.id,
        "directory": planned.directory,
        "paths": plain(planned.paths),
        "restart": planned.is_restarting,
        "free_bytes": planned.free_bytes,
        "reasons": plain(planned.reasons),
    }


def _print_plan(options: Common, planned: ImportPlan) -> None:
    out = console(options)
    out.print(Text(f"import of {planned.source}", style="bold"))
    for reason in planned.reasons:
        out.print(f"  {reason}", markup=False)
    if planned.free_bytes is not None:
        out.print(f"  the volume has {bytes_text(planned.free_bytes)} free; this is looked at again before it begins")


def _print_result(options: Common, run: Run) -> None:
    if run.outcome is None or run.state not in {RunState.SUCCEEDED, RunState.DEGRADED}:
        return
    out, result = console(options), json.loads(run.outcome.result_json)
    import_id, phase = result["import_id"], result["phase"]
    if phase == "over":
        out.print(f"import {import_id}: what it had replaced was removed")
        return
    done = {"moved": f"{result['files']} files are in place", "undone": "the old files are back"}[phase]
    out.print(f"import {import_id}: {done}; the application is {result['health']}", markup=False)
    if result["detail"]:
        out.print(Text(result["detail"], style="yellow"))
    if phase == "moved":
        out.print(f"go back: flykeep import undo {import_id}")
    out.print(f"drop what is kept: flykeep import confirm {import_id}")

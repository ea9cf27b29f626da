"""`flykeep export TARGET`: copy its contents off the platform now."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flykeep.cli.acting import LOCAL, NO_WAIT, act, report
from flykeep.cli.context import Common, console, with_application
from flykeep.cli.render import bytes_text
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.domain.policy import JobKind
from flykeep.domain.run import RunRequest

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


class Source(StrEnum):
    """Where an export reads from; `auto` follows the policy, and says why."""

    AUTO = "auto"
    SNAPSHOT = "snapshot"
    SSH = "ssh"


def register(app: typer.Typer) -> None:
    @app.command()
    def export(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)],
        source: Annotated[
            Source,
            typer.Option(
                help="Where to read from; auto follows the policy and says why. snapshot needs [worker] image."
            ),
        ] = Source.AUTO,
        path: Annotated[
            list[str] | None,
            typer.Option(help="Export only paths that match this glob, from the volume's root; may be repeated."),
        ] = None,
        reason: Annotated[str | None, typer.Option(help="Why it is made; kept with the run.")] = None,
        no_wait: NO_WAIT = False,
        local: LOCAL = False,
    ) -> None:
        """Make one artifact in each store of the target's policy."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target)
            request = RunRequest(reason=reason, source=source.value, paths=tuple(path or ()))
            run, code = await act(
                application,
                options,
                kind=JobKind.EXPORT,
                lineage=lineage,
                request=request,
                is_local=local,
                is_waiting=not no_wait,
            )
            result = json.loads(run.outcome.result_json) if run.outcome else {}
            report(run, options, extra={"export_id": result.get("export_id")})
            if result.get("export_id") and not options.is_json:
                _print_result(options, result)
            return code

        with_application(ctx, action)


def _print_result(options: Common, result: dict[str, object]) -> None:
    out = console(options)
    copies = result.get("copies")
    for copy in copies if isinstance(copies, list) else []:
        size = bytes_text(int(copy["stored_bytes"]))
        out.print(f"artifact {result['export_id']} in store {copy['store']}: {result['files']} files, {size} stored")
    if result.get("why_not_restorable"):
        reason = Text("never counts as a backup: ", style="bold yellow")
        out.print(reason.append(str(result["why_not_restorable"]), style="not bold default"))
    changed = result.get("changed")
    for file in changed if isinstance(changed, list) else []:
        out.print(f"  {file['change']}: {file['path']}", style="yellow", markup=False)

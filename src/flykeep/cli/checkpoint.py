"""`flykeep checkpoint TARGET`: before a deploy or a migration; go or no-go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from flykeep.cli.acting import EXIT_DEGRADED, LOCAL, act, report
from flykeep.cli.context import Common, console, with_application
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.domain.policy import JobKind
from flykeep.domain.run import RunRequest

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def checkpoint(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)],
        accept_degraded: Annotated[
            bool, typer.Option("--accept-degraded", help="Go on too where files changed while the export read them.")
        ] = False,
        skip_export: Annotated[
            bool, typer.Option("--skip-export", help="A snapshot only: quick, and lost together with the app.")
        ] = False,
        reason: Annotated[str | None, typer.Option(help="Why it is made; kept with the run.")] = None,
        local: LOCAL = False,
    ) -> None:
        """Snapshot, export and verify now, for use before a deploy or a migration.

        Exit 0 means go; 9 that the export is degraded; else the exit code says what failed.
        """

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target)
            request = RunRequest(reason=reason, is_export_skipped=skip_export, is_degraded_accepted=accept_degraded)
            run, code = await act(
                application, options, kind=JobKind.CHECKPOINT, lineage=lineage, request=request, is_local=local
            )
            result = json.loads(run.outcome.result_json) if run.outcome else {}
            is_go = bool(result.get("is_go"))
            report(run, options, extra={"is_go": is_go})
            if not options.is_json:
                print_answer(console(options), lineage.label, result, is_go=is_go)
            return 0 if is_go and code == EXIT_DEGRADED else code

        with_application(ctx, action)


def print_answer(out: Console, label: str, result: dict[str, Any], *, is_go: bool) -> None:
    """One line to decide by, then how to come back."""
    answer = Text("GO", style="bold green") if is_go else Text("NO-GO", style="bold red")
    doubts = "; ".join(result.get("doubts", ()))
    said = [f"snapshot {result['snapshot_id']} of {result['snapshot_at']}"] if result.get("snapshot_id") else []
    if result.get("export_id"):
        depth = ", ".join(f"{one['level']} in {one['store']}" for one in result["verified"]) or "not verified"
        said.append(f"artifact {result['export_id']} ({depth})")
    out.print(answer.append(f"  {label}: {', '.join(said) or 'nothing was taken'}", style="not bold default"))
    if doubts:
        out.print(Text(f"  {doubts}", style="yellow"))
    if result.get("snapshot_id"):
        out.print(Text(" back", style="bold").append(f" {result['way_back']}", style="not bold"))

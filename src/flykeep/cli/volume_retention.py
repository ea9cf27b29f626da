"""`flykeep volume retention TARGET --days N [--automatic on|off]`: how long Fly keeps its snapshots."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.acting import LOCAL, act, report
from flykeep.cli.asking import person
from flykeep.cli.context import Common, console, with_application
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest, RunState
from flykeep.domain.volume_care import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS, VolumeAct

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


def register(group: typer.Typer) -> None:
    @group.command()
    def retention(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)],
        days: Annotated[
            int | None,
            typer.Option(min=MIN_RETENTION_DAYS, max=MAX_RETENTION_DAYS, help="Days that Fly keeps each snapshot."),
        ] = None,
        automatic: Annotated[Switch | None, typer.Option(help="Whether Fly takes its own snapshot each day.")] = None,
        local: LOCAL = False,
    ) -> None:
        """Change how long snapshots taken from now on are kept; those that exist keep their days."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target)
            request = RunRequest(
                volume_act=VolumeAct.RETENTION.value,
                retention_days=days,
                is_automatic_on=None if automatic is None else automatic is Switch.ON,
                actor=person(),
            )
            run, code = await act(
                application, options, kind=JobKind.VOLUME, lineage=lineage, request=request, is_local=local
            )
            report(run, options)
            _print(options, run)
            return code

        with_application(ctx, action)


def _print(options: Common, run: Run) -> None:
    if options.is_json or run.outcome is None or run.state is not RunState.SUCCEEDED:
        return
    out, result = console(options), json.loads(run.outcome.result_json)
    automatic = {True: "on", False: "off", None: "not reported"}[result["automatic_after"]]
    out.print(f"snapshots taken from now on are kept for {result['to_days']} days; Fly's daily ones are {automatic}")
    if result["from_days"] != result["to_days"]:
        out.print(f"snapshots that exist keep the {result['from_days']} days they were made with")
    for doubt in result["doubts"]:
        out.print(doubt, style="yellow", markup=False)

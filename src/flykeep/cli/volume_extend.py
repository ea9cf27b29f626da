"""`flykeep volume extend TARGET --size N|+N`: more room."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.acting import LOCAL, act, report
from flykeep.cli.asking import confirm, person
from flykeep.cli.context import Common, console, with_application
from flykeep.cli.targets import TARGET_HELP, located_lineage
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest, RunState
from flykeep.domain.target import Lineage
from flykeep.domain.volume_care import VolumeAct, plan_extension, wanted_size_gb

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(group: typer.Typer) -> None:
    @group.command()
    def extend(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)],
        size: Annotated[str, typer.Option("--size", metavar="N|+N", help="GB it shall have, or +N for N more.")],
        restart: Annotated[
            bool, typer.Option("--restart", help="Restart its machine where the room is not seen without; with checks.")
        ] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        local: LOCAL = False,
    ) -> None:
        """Give it more room, and say what that costs; volumes never shrink."""

        async def action(application: Application, options: Common) -> int:
            lineage = await located_lineage(application, target)
            volume = await application.fly.volume(lineage.app, lineage.volume_id)
            to_gb = wanted_size_gb(size, size_gb=volume.size_gb)
            plan = plan_extension(volume, to_gb, is_restarting=restart)
            out = console(options)
            if plan.is_growing:
                out.print(
                    f"{volume.id}: from {plan.from_gb} to {plan.to_gb} GB, {plan.cost_text}; it never shrinks again"
                )
                question = f"Extend the volume of {lineage.label}?"
            else:
                question = f"Restart the machine of {lineage.label}?"
            confirm(question, is_yes=yes)
            request = RunRequest(
                volume_act=VolumeAct.EXTEND.value, size_gb=to_gb, is_restarting=restart, actor=person()
            )
            run, code = await act(
                application, options, kind=JobKind.VOLUME, lineage=lineage, request=request, is_local=local
            )
            report(run, options)
            _print(options, lineage, run)
            return code

        with_application(ctx, action)


def _print(options: Common, lineage: Lineage, run: Run) -> None:
    if options.is_json or run.outcome is None or run.state not in {RunState.SUCCEEDED, RunState.DEGRADED}:
        return
    out, result = console(options), json.loads(run.outcome.result_json)
    out.print(f"{result['volume_id']} has {result['to_gb']} GB")
    if result["health"] is not None:
        detail = f": {result['detail']}" if result["detail"] else ""
        out.print(f"machine {result['machine_id']} is {result['health']}{detail}", markup=False)
    if result["restart_missing"]:
        again = f"flykeep volume extend {lineage.label} --size {result['to_gb']} --restart"
        out.print(f"its machine sees the room after a restart: {again}", style="yellow", markup=False)

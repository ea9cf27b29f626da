"""`flykeep snapshot TARGET`: take one now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.acting import LOCAL, NO_WAIT, act, report
from flykeep.cli.context import Common, console, with_application
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.domain.policy import JobKind
from flykeep.domain.run import RunRequest

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def snapshot(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)],
        reason: Annotated[str | None, typer.Option(help="Why it is made; kept with the run.")] = None,
        no_wait: NO_WAIT = False,
        local: LOCAL = False,
    ) -> None:
        """Take one snapshot and wait until it is restorable."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target)
            run, code = await act(
                application,
                options,
                kind=JobKind.SNAPSHOT,
                lineage=lineage,
                request=RunRequest(reason=reason),
                is_local=local,
                is_waiting=not no_wait,
            )
            report(run, options)
            if code == 0:
                done = "submitted" if no_wait else "restorable"
                console(options).print(f"snapshot of {lineage.label} {done} (run {run.id})")
            return code

        with_application(ctx, action)

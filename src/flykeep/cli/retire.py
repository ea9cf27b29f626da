"""`flykeep retire TARGET`: end a target; with `--erase` remove everything of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.acting import LOCAL, act_on, report
from flykeep.cli.asking import confirm, person
from flykeep.cli.context import Common, console, with_application
from flykeep.cli.render import bytes_text, count_text
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.domain.policy import JobKind
from flykeep.domain.run import Run, RunRequest
from flykeep.domain.target import ORG_LINEAGE

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def retire(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)],
        erase: Annotated[
            bool, typer.Option("--erase", help="Remove all its artifacts from every store, the last one too.")
        ] = False,
        reason: Annotated[str | None, typer.Option(help="Why; kept in the audit. --erase needs it.")] = None,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        local: LOCAL = False,
    ) -> None:
        """End a target: no more slots, no findings. Its artifacts stay and stay listed, unless --erase."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target, include_retired=True)
            async with application.catalog.transaction() as tx:
                held = await tx.artifacts(lineage.id)
            what = f"{count_text(len(held), 'artifact')} of {lineage.label}"
            question = f"This removes {what} for good." if erase else f"This ends {lineage.label} and keeps {what}."
            confirm(question, is_yes=yes, expected=lineage.label)
            run, code = await act_on(
                application,
                options,
                kind=JobKind.RETIRE,
                lineage_id=ORG_LINEAGE,
                label=lineage.label,
                request=RunRequest(reason=reason, lineage_id=lineage.id, actor=person(), is_erasing=erase),
                is_local=local,
            )
            report(run, options)
            if not options.is_json and code in {0, 9}:
                _print(run, options, is_erasing=erase)
            return code

        with_application(ctx, action)


def _print(run: Run, options: Common, *, is_erasing: bool) -> None:
    result = json.loads(run.outcome.result_json) if run.outcome else {}
    out = console(options)
    if not is_erasing:
        out.print(f"{result['target']} is retired; `flykeep resume {result['target']}` brings it back", markup=False)
        return
    freed = bytes_text(int(result["erased_bytes"]))
    out.print(
        f"{result['target']}: {count_text(int(result['erased']), 'artifact')} erased, {freed}; "
        f"{count_text(len(result['left']), 'thing')} left",
        markup=False,
    )

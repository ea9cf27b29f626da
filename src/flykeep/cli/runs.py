"""`flykeep runs [RUN]`: history, and the steps of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.acting import run_document
from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.progress import step_text
from flykeep.cli.render import duration_text, print_indented, print_table
from flykeep.domain.documents import plain
from flykeep.domain.errors import NotFoundError
from flykeep.domain.ids import RunId
from flykeep.domain.run import Run
from flykeep.domain.target import work_label

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def runs(
        ctx: typer.Context,
        run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="The id of one run.")] = None,
        limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 30,
    ) -> None:
        """List runs, newest first, or show one with its steps; a failed run says what to do next."""

        async def action(application: Application, options: Common) -> int:
            if run_id:
                return await _one(application, options, RunId(run_id))
            return await _list(application, options, limit)

        with_application(ctx, action)


async def _one(application: Application, options: Common, run_id: RunId) -> int:
    async with application.catalog.transaction() as tx:
        run, steps = await tx.run(run_id), await tx.steps(run_id)
    if run is None:
        raise NotFoundError(f"there is no run {run_id}")
    if options.is_json:
        print_document(run_document(run) | {"slot": run.slot.key, "steps": plain(list(steps))})
        return 0
    out = console(options)
    out.print(f"run {run.id}: {run.kind.value} {run.state.value}, slot {run.slot.key}", markup=False)
    for step in steps:
        print_indented(out, step_text(step), by=2, style="dim")
    failure = run.outcome.failure if run.outcome else None
    if failure:
        print_indented(out, f"{failure.code}: {failure.message}", by=2, style="red")
        print_indented(out, f"next: {failure.hint}", by=2)
    return 0


async def _list(application: Application, options: Common, limit: int) -> int:
    async with application.catalog.transaction() as tx:
        found = await tx.runs(limit=limit)
        labels = {lineage.id: lineage.label for lineage in await tx.lineages(include_retired=True)}
    if options.is_json:
        documents = [run_document(run) | {"target": labels.get(run.lineage_id), "slot": run.slot.key} for run in found]
        print_document({"runs": plain(documents)})
        return 0
    rows = [
        (
            run.id,
            run.kind.value,
            labels.get(run.lineage_id) or work_label(run.lineage_id) or "?",
            run.slot.key.split(":")[0] if run.slot.scheduled_at is None else run.slot.key,
            run.state.value,
            _took(run),
            run.outcome.failure.code if run.outcome and run.outcome.failure else "",
        )
        for run in found
    ]
    if not rows:
        console(options).print("no run yet")
        return 0
    print_table(console(options), "run", "kind", "target", "slot", "state", "took", "error", rows=rows)
    return 0


def _took(run: Run) -> str:
    return duration_text(run.ended_at - run.started_at) if run.ended_at and run.started_at else "-"

"""`flykeep reconcile`: what dead processes left, and its removal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import print_indented
from flykeep.domain.documents import plain
from flykeep.jobs.reconcile import ReconcileReport

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def reconcile(
        ctx: typer.Context,
        apply: Annotated[bool, typer.Option("--apply", help="Do it; without it the plan is only shown.")] = False,
    ) -> None:
        """Close interrupted runs, adopt finished artifacts, remove half-made ones; nothing else is touched."""

        async def action(application: Application, options: Common) -> int:
            report = await application.reconcile.reconcile(is_applied=apply)
            if options.is_json:
                print_document({"reconcile": plain(report)})
                return 0
            _print(console(options), report)
            return 0

        with_application(ctx, action)


def _print(out: Console, report: ReconcileReport) -> None:
    word = "" if report.is_applied else "would be "
    for run_id in report.interrupted:
        out.print(f"run {run_id}: its process died; {word}closed as interrupted")
    for line in _lines(report):
        out.print(line, markup=False)
    for unswept in report.unswept:
        out.print(f"{unswept.store}: unfinished uploads not looked at: {unswept.reason}", markup=False)
        print_indented(out, f"next: {unswept.hint}", by=2)
    if not report.is_anything_found:
        out.print("nothing to reconcile")
    elif not report.is_applied:
        out.print("nothing was changed; add --apply to do it")


def _lines(report: ReconcileReport) -> Iterator[str]:
    """What was found, one thing a line."""
    for left in report.leftovers:
        yield f"{left.store}: {left.prefix}: {left.action}, {len(left.objects)} objects"
    for scratch in report.scratch:
        yield f"{scratch.app}: {scratch.action}: {', '.join(scratch.names)}"
    for room in report.rooms:
        yield f"directory of drill {room.run_id}: {room.action}"
    for copy in report.copies:
        yield f"{copy.app}: copy {copy.volume} of run {copy.run_id}: {copy.action}"
    for upload in report.uploads:
        yield f"{upload.store}: unfinished upload {upload.key}: {upload.action}"
    for left_import in report.imports:
        yield f"{left_import.target}: import {left_import.run_id} was {left_import.phase}: {left_import.action}"
    for restore in report.restores:
        yield f"{restore.target}: restore {restore.run_id} was {restore.phase}: {restore.action}"
    for removal in report.removals:
        yield f"{removal.store}: removal of {removal.export_id}: {removal.action}"

"""`flykeep pause|resume TARGET`: planned silence."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.asking import person
from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import instant_text
from flykeep.cli.spans import typed_span
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.domain.documents import plain
from flykeep.domain.holds import AuditAction, AuditEntry
from flykeep.domain.target import Lineage
from flykeep.ports.catalog import Pause, Transaction

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


async def _bring_back(tx: Transaction, lineage: Lineage, *, now: datetime) -> None:
    await tx.save_lineage(replace(lineage, is_retired=False))
    await tx.add_audit(AuditEntry(now, person(), AuditAction.RESUMED, f"{lineage.label} (lineage {lineage.id})", ""))


def register(app: typer.Typer) -> None:
    @app.command()
    def pause(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)],
        duration: Annotated[
            str | None, typer.Option("--for", help="How long, such as 8h or 2d; without it until `flykeep resume`.")
        ] = None,
        reason: Annotated[str, typer.Option(help="Why; it is shown wherever the pause is.")] = "paused by hand",
    ) -> None:
        """Plan nothing and alarm about nothing for this target for a while."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target)
            now = application.clock.now()
            until_at = now + typed_span(duration) if duration else None
            async with application.catalog.transaction() as tx:
                await tx.pause(Pause(lineage.id, until_at, reason, now))
            if options.is_json:
                print_document({"target": lineage.label, "paused": True, "until_at": plain(until_at)})
            else:
                until = f"until {instant_text(until_at)}" if until_at else "until `flykeep resume`"
                console(options).print(f"{lineage.label} paused {until}; snapshots Fly takes by itself go on")
            return 0

        with_application(ctx, action)

    @app.command()
    def resume(ctx: typer.Context, target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)]) -> None:
        """End a pause, or bring a retired target back: schedules and alarms go on from now."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target, include_retired=True)
            async with application.catalog.transaction() as tx:
                was_paused = await tx.resume(lineage.id)
                if lineage.is_retired:
                    await _bring_back(tx, lineage, now=application.clock.now())
            was = {"was_paused": was_paused, "was_retired": lineage.is_retired}
            if options.is_json:
                print_document({"target": lineage.label, "paused": False, **was})
            else:
                console(options).print(f"{lineage.label} " + ("resumed" if any(was.values()) else "was not paused"))
            return 0

        with_application(ctx, action)

"""`flykeep pause|resume TARGET`: planned silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import instant_text
from flykeep.cli.spans import typed_span
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.domain.documents import plain
from flykeep.ports.catalog import Pause

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


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
        """End a pause: schedules and alarms go on from now."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target)
            async with application.catalog.transaction() as tx:
                was_paused = await tx.resume(lineage.id)
            if options.is_json:
                print_document({"target": lineage.label, "paused": False, "was_paused": was_paused})
            else:
                console(options).print(f"{lineage.label} " + ("resumed" if was_paused else "was not paused"))
            return 0

        with_application(ctx, action)

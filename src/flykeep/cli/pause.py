"""`flykeep pause|resume TARGET`: planned silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import instant_text
from flykeep.cli.targets import find_lineage
from flykeep.domain.documents import plain
from flykeep.ports.catalog import Pause
from flykeep.settings.durations import parse_duration

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def pause(
        ctx: typer.Context,
        target: str,
        duration: Annotated[str | None, typer.Option("--for", help="Such as 8h; else until resumed.")] = None,
        reason: Annotated[str, typer.Option(help="Why; shown wherever the pause shows.")] = "paused by hand",
    ) -> None:
        """Plan nothing and alarm about nothing for this target for a while."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target)
            now = application.clock.now()
            until_at = now + parse_duration(duration) if duration else None
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
    def resume(ctx: typer.Context, target: str) -> None:
        """End a pause."""

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

"""`flykeep snapshots [TARGET]`: what Fly holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import age_text, bytes_text, instant_text, print_table
from flykeep.cli.targets import TARGET_HELP, find_lineage, known_lineages
from flykeep.domain.documents import plain
from flykeep.domain.fly import VolumeSnapshot
from flykeep.domain.target import Lineage

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def snapshots(
        ctx: typer.Context, target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help=TARGET_HELP)] = None
    ) -> None:
        """List snapshots, newest first; only `created` ones can be restored."""

        async def action(application: Application, options: Common) -> int:
            lineages = await _wanted(application, target)
            rows = [(lineage, row) for lineage in lineages for row in await _listed(application, lineage)]
            if options.is_json:
                documents = [{"target": lineage.label, "snapshot": plain(row)} for lineage, row in rows]
                print_document({"snapshots": plain(documents)})
                return 0
            now = application.clock.now()
            cells = [
                (
                    row.id or "(pending)",
                    lineage.label,
                    row.status,
                    instant_text(row.created_at),
                    age_text(row.created_at, now=now),
                    bytes_text(row.size_bytes),
                )
                for lineage, row in rows
            ]
            columns = ("snapshot", "target", "status", "created", "age", "stored")
            print_table(console(options), *columns, rows=cells)
            return 0

        with_application(ctx, action)


async def _wanted(application: Application, target: str | None) -> tuple[Lineage, ...]:
    if target:
        return (await find_lineage(application, target),)
    await application.check.refresh_lineages()
    return await known_lineages(application)


async def _listed(application: Application, lineage: Lineage) -> tuple[VolumeSnapshot, ...]:
    return await application.fly.snapshots(lineage.app, lineage.volume_id)

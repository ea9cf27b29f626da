"""`flykeep audit`: who pinned, pruned, retired and erased what, when and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import instant_text, print_table
from flykeep.domain.documents import plain
from flykeep.domain.holds import AuditEntry

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def audit(
        ctx: typer.Context,
        limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many to list.")] = 50,
    ) -> None:
        """List what was held, removed and ended, newest first; these rows outlive what they are about."""

        async def action(application: Application, options: Common) -> int:
            async with application.catalog.transaction() as tx:
                found = await tx.audit(limit=limit)
            if options.is_json:
                print_document({"entries": plain(found)})
            elif found:
                columns = ("at", "who", "what", "subject", "counts", "reason")
                print_table(console(options), *columns, rows=[_row(entry) for entry in found])
            else:
                console(options).print("nothing was held, removed or ended yet")
            return 0

        with_application(ctx, action)


def _row(entry: AuditEntry) -> tuple[str, ...]:
    counts = ", ".join(f"{count.name} {count.count}" for count in entry.counts)
    return instant_text(entry.at), entry.actor, entry.action.value, entry.subject, counts, entry.reason

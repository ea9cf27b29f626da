"""`flykeep doctor`: try everything online that a backup will need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import print_indented
from flykeep.domain.documents import plain
from flykeep.domain.errors import NotFoundError

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(
        ctx: typer.Context,
        store: Annotated[str | None, typer.Option(help="Try only this store.")] = None,
    ) -> None:
        """Try token, apps, SSH, stores and notifiers; exit 3 where something would fail."""

        async def action(application: Application, options: Common) -> int:
            if store is not None and store not in application.stores:
                raise NotFoundError(
                    f"there is no store {store!r}", hint=f"Configured: {', '.join(application.stores) or 'none'}."
                )
            examined = await application.doctor.examine(only_store=store)
            is_healthy = all(one.error is None for one in examined)
            if options.is_json:
                print_document({"is_healthy": is_healthy, "examined": plain(examined)})
                return 0 if is_healthy else 3
            out = console(options)
            for one in examined:
                mark, style = ("ok  ", "green") if one.error is None else ("FAIL", "bold red")
                out.print(mark, style=style, end=" ")
                out.print(f"{one.subject}: {one.error or one.detail}", markup=False)
                if one.hint:
                    print_indented(out, f"next: {one.hint}", by=5)
            return 0 if is_healthy else 3

        with_application(ctx, action)

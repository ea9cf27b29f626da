"""`flykeep catalog rebuild`: the catalog again, from the stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.identity import IdentityFile, identity_text
from flykeep.cli.progress import ProgressView
from flykeep.domain.documents import plain
from flykeep.ports.worker import Progress

if TYPE_CHECKING:
    from flykeep.bootstrap import Application
    from flykeep.jobs.rebuild import RebuildReport

_STORE = Annotated[str | None, typer.Option("--store", help="Read this store only; without it every configured store.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The local index of everything known.", no_args_is_help=True)
    app.add_typer(group, name="catalog")

    @group.callback()
    def entry() -> None:
        """The local index of everything known."""

    @group.command()
    def rebuild(ctx: typer.Context, store: _STORE = None, identity: IdentityFile = None) -> None:
        """Recreate it from the stores: nothing is deleted or replaced; exit 9 where something was refused."""

        async def action(application: Application, options: Common) -> int:
            names = [store] if store else list(application.stores)
            with ProgressView(console(options), "rebuilding the catalog") as view:
                report = await application.rebuild.rebuild(
                    names,
                    identity=identity_text(identity),
                    on_progress=lambda name, read, every: view.progress(
                        Progress(f"{name}: {read} of {every} manifests read", 0, 0, 0)
                    ),
                )
            if options.is_json:
                print_document({"rebuilt": plain(report)})
            else:
                _print(report, options)
            return 0 if report.is_whole else 9

        with_application(ctx, action)


def _print(report: RebuildReport, options: Common) -> None:
    out = console(options)
    for store in report.stores:
        if store.failure:
            out.print(f"{store.store}: did not answer: {store.failure}", markup=False)
            continue
        out.print(
            f"{store.store}: {store.restored} artifacts restored, {store.known} known before; "
            f"state document: {store.state}",
            markup=False,
        )
        for refused in store.refused:
            out.print(f"  refused {refused.key}: {refused.reason}", markup=False)
    out.print(f"targets restored: {', '.join(report.lineages) or 'none'}", markup=False)

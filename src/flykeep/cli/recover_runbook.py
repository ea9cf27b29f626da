"""`flykeep recover APP --runbook`: the page by which a person does it by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from flykeep.cli.context import Common, print_document
from flykeep.domain.errors import NotFoundError
from flykeep.domain.ids import AppName

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


async def print_runbook(
    application: Application,
    options: Common,
    app: AppName,
    *,
    name: AppName | None = None,
    org: str | None = None,
    identity: str | None = None,
) -> int:
    """Print the page as it would be written now, for an app to be built under another name where one is given.

    Where the catalog does not know the app, it is read back from the stores first. Raises NotFoundError.
    """
    page = await application.runbooks.page(app, name=name, org=org)
    if page is None:
        report = await application.rebuild.rebuild(application.stores, identity=identity)
        page = await application.runbooks.page(app, name=name, org=org)
        if page is None:
            states = ", ".join(f"{store.store}: {store.failure or store.state}" for store in report.stores)
            raise NotFoundError(
                f"neither the catalog nor a store describes an app {app} ({states})",
                hint="Name the key with --identity; without it what the stores hold of apps stays closed.",
            )
    if options.is_json:
        print_document({"app": app, "name": name or app, "runbook": page})
    else:
        typer.echo(page, nl=False)
    return 0

"""`flykeep recover APP --runbook`: the page by which a person does it by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from flykeep.cli.context import Common, print_document
from flykeep.domain.errors import NotFoundError
from flykeep.domain.ids import AppName

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose page it shall be, and under which name the app is to be built; `org` None means its own."""

    app: AppName
    name: AppName
    org: str | None = None
    identity: str | None = field(default=None, repr=False)


async def print_runbook(application: Application, options: Common, wanted: Wanted) -> int:
    """Print the page as it would be written now.

    Where the catalog does not know the app, it is read back from the stores first. Raises NotFoundError.
    """
    app, asked = wanted.app, application.runbooks
    page = await asked.page(app, name=wanted.name, org=wanted.org)
    if page is None:
        report = await application.rebuild.rebuild(application.stores, identity=wanted.identity)
        page = await asked.page(app, name=wanted.name, org=wanted.org)
        if page is None:
            states = ", ".join(f"{store.store}: {store.failure or store.state}" for store in report.stores)
            raise NotFoundError(
                f"neither the catalog nor a store describes an app {app} ({states})",
                hint="Name the key with --identity; without it what the stores hold of apps stays closed.",
            )
    if options.is_json:
        print_document({"app": app, "name": wanted.name, "runbook": page})
    else:
        typer.echo(page, nl=False)
    return 0

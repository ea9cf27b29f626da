"""The command line: one verb a file, gathered here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flykeep import __version__
from flykeep.cli import (
    artifact,
    artifacts,
    check,
    demo,
    doctor,
    export,
    incidents,
    notify,
    pause,
    reconcile,
    run,
    runs,
    simulate,
    snapshot,
    snapshots,
    status,
    worker,
)
from flykeep.cli import config as config_verbs
from flykeep.cli.context import Common, hoist

EXIT_CODES = (
    "Exit codes: 0 done or healthy; 1 internal error; 2 usage or configuration; 3 unhealthy; 4 refused by a guard; "
    "5 Fly API; 6 store; 7 integrity; 8 interrupted; 9 done but degraded."
)

app = typer.Typer(
    name="flykeep",
    help="Keeps the volumes of Fly.io apps restorable.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"flykeep {__version__}")
        raise typer.Exit


@app.callback()
def entry(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option(envvar="FLYKEEP_CONFIG", help="The configuration file.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Exactly one JSON object on standard output.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more, to standard error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,  # noqa: ARG001
) -> None:
    """Common options stand before or after the verb."""
    ctx.obj = Common(config=config, is_json=json, is_verbose=verbose)


for module in (
    run,
    status,
    check,
    snapshot,
    snapshots,
    export,
    artifacts,
    artifact,
    runs,
    incidents,
    pause,
    notify,
    reconcile,
    doctor,
    demo,
    simulate,
    worker,
    config_verbs,
):
    module.register(app)


def main() -> None:
    """The console script."""
    app(hoist(sys.argv[1:]))

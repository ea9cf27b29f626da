"""The command line: one verb a file, gathered here."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from flykeep import __version__
from flykeep.cli import (
    adopt,
    artifact,
    artifacts,
    audit,
    catalog,
    check,
    checkpoint,
    demo,
    doctor,
    drill,
    export,
    import_,
    incidents,
    init,
    inspect,
    notify,
    pause,
    prune,
    reconcile,
    recover,
    restore,
    retire,
    run,
    runs,
    simulate,
    snapshot,
    snapshots,
    status,
    volume,
    worker,
)
from flykeep.cli import config as config_verbs
from flykeep.cli.context import (
    EXIT_INTERRUPTED,
    Common,
    hoist,
    print_error,
    report_defect,
    report_interrupt,
)
from flykeep.domain.errors import UsageError

EXIT_CODES = (
    "Exit codes: 0 done or healthy; 1 internal error; 2 usage or configuration; 3 unhealthy; 4 refused by a guard; "
    "5 Fly API; 6 store; 7 integrity; 8 interrupted; 9 done but degraded."
)
_SIGNALLED = 130  # how typer reports a Ctrl-C
_JSON, _VERBOSE = "--json", "--verbose"

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
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
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
    restore,
    import_,
    init,
    artifacts,
    artifact,
    prune,
    drill,
    inspect,
    volume,
    recover,
    checkpoint,
    runs,
    incidents,
    pause,
    adopt,
    retire,
    audit,
    notify,
    catalog,
    reconcile,
    doctor,
    demo,
    simulate,
    worker,
    config_verbs,
):
    module.register(app)


def _name_exit_codes(group: typer.Typer) -> None:
    """Every verb's help ends with what its exit codes mean."""
    for command in group.registered_commands:
        command.epilog = EXIT_CODES
    for sub in group.registered_groups:
        if sub.typer_instance is not None:
            sub.typer_instance.info.epilog = EXIT_CODES
            _name_exit_codes(sub.typer_instance)


_name_exit_codes(app)


def main() -> None:
    """The console script."""
    code = run_command_line(sys.argv[1:])
    gc.freeze()  # else the interpreter looks for garbage in every module before it ends: a quarter of a second
    sys.exit(code)


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one verb and give its exit code; whatever happens, `--json` leaves one object on standard output."""
    words = hoist(arguments)
    front = words[: next((number for number, word in enumerate(words) if not word.startswith("-")), len(words))]
    is_json, is_verbose = _JSON in front, _VERBOSE in front
    options = Common(config=None, is_json=is_json, is_verbose=is_verbose)
    try:
        code = app(words, prog_name="flykeep", standalone_mode=False)
    except typer.TyperException as error:
        _report_usage(error, is_json=is_json)
        return UsageError.exit_code
    except Exception as error:  # noqa: BLE001 - the last seam: nothing above it could tell a person
        report_defect(error, is_json=is_json, is_verbose=is_verbose)
        return 1
    if code == _SIGNALLED:
        report_interrupt(options)
        return EXIT_INTERRUPTED
    return int(code or 0)


def _report_usage(error: typer.TyperException, *, is_json: bool) -> None:
    message = error.format_message()
    if is_json:
        print_error(UsageError.code, message, hint=UsageError.hint, exit_code=UsageError.exit_code)
    show = getattr(error, "show", None)
    if show is not None:
        show()
    sys.stderr.write(f" next {UsageError.hint}\n")

"""`flykeep config check|show|schema`: the configuration, offline."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flykeep.cli.context import Common, common, console, print_document, report_error
from flykeep.domain.documents import Plain
from flykeep.domain.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from flykeep.ports.plugin import NotifierPlugin
    from flykeep.settings import Problem, Settings

EXIT_REFUSED = 2


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The configuration, offline.", no_args_is_help=True)
    app.add_typer(group, name="config")

    @group.command("check")
    def check_verb(ctx: typer.Context) -> None:
        """Refuse what cannot hold, warn of what is likely not meant; nothing outside is asked."""
        options = common(ctx)
        raise typer.Exit(check(options.config, options.is_json))

    @group.command("show")
    def show_verb(ctx: typer.Context) -> None:
        """Every effective value and where it comes from; secrets by name only."""
        options = common(ctx)
        raise typer.Exit(show(options.config, options.is_json))

    @group.command("schema")
    def schema_verb() -> None:
        """The JSON schema of the file, for editors."""
        raise typer.Exit(schema())


def check(config: Path | None, as_json: bool) -> int:
    """0 for a configuration that can run, else 2 with every reason."""
    problems, summary = _judge(config)
    errors = [problem for problem in problems if problem.level == "error"]
    if as_json:
        print_document({"is_valid": not errors, "problems": [_as_plain(problem) for problem in problems]})
        return EXIT_REFUSED if errors else 0
    out = console(Common(config=config, is_json=False, is_verbose=False))
    for problem in problems:
        out.print(f"{problem.level}: {problem}", markup=False)
    out.print(f"refused: {len(errors)} error(s)" if errors else summary, markup=False)
    return EXIT_REFUSED if errors else 0


def show(config: Path | None, as_json: bool) -> int:
    """Prints effective values; 2 where the configuration can't be loaded."""
    from flykeep.settings import load_settings  # noqa: PLC0415 - heavy; `--help` must not wait for it
    from flykeep.settings import show as effective  # noqa: PLC0415

    options = Common(config=config, is_json=as_json, is_verbose=False)
    try:
        entries = effective(load_settings(config, os.environ))
    except ConfigError as error:
        report_error(error, options)
        return error.exit_code
    if as_json:
        rows: list[Plain] = [
            {
                "key": entry.key,
                "value": list(entry.value) if isinstance(entry.value, tuple) else entry.value,
                "origin": entry.origin,
            }
            for entry in entries
        ]
        print_document({"settings": rows})
        return 0
    key_width = max((len(entry.key) for entry in entries), default=0)
    for entry in entries:
        value = "-" if entry.value is None else json.dumps(entry.value, ensure_ascii=False)
        console(options).print(f"{entry.key:<{key_width}} = {value}  # {entry.origin}", markup=False)
    return 0


def schema() -> int:
    """Prints the JSON schema."""
    from flykeep.settings import json_schema  # noqa: PLC0415 - heavy; `--help` must not wait for it

    sys.stdout.write(json.dumps(json_schema(), ensure_ascii=False, indent=2) + "\n")
    return 0


def _judge(config: Path | None) -> tuple[Sequence[Problem], str]:
    """Everything wrong, and one line for a configuration without errors."""
    from flykeep.settings import InvalidSettingsError, Level, Problem, check_settings, load_settings  # noqa: PLC0415

    try:
        settings = load_settings(config, os.environ)
    except InvalidSettingsError as error:
        return error.problems, ""
    except ConfigError as error:
        return (Problem(Level.ERROR, "", error.message, None, error.next_step),), ""
    plugins, broken = _plugins(settings)
    counts = (
        f"{len(settings.targets)} target(s), {len(settings.stores)} store(s), {len(settings.notifiers)} notifier(s)"
    )
    return (*broken, *check_settings(settings, plugins=plugins)), f"valid: {counts}"


def _plugins(settings: Settings) -> tuple[dict[str, NotifierPlugin], list[Problem]]:
    """The plugins the configuration names, and what is wrong with those that can't be had."""
    from flykeep.plugins import load_notifiers  # noqa: PLC0415 - imports what the configuration names
    from flykeep.settings import Level, Problem  # noqa: PLC0415

    plugins: dict[str, NotifierPlugin] = {}
    broken: list[Problem] = []
    for notifier in settings.notifiers:
        try:
            plugins.update(load_notifiers([notifier.type]))
        except PluginError as error:
            path = ("notifiers", notifier.name, "type")
            origin = settings.origins.nearest(path)
            broken.append(Problem(Level.ERROR, ".".join(path), error.message, origin, error.next_step))
    return plugins, broken


def _as_plain(problem: Problem) -> dict[str, Plain]:
    return {
        "level": problem.level.value,
        "key": problem.key,
        "message": problem.message,
        "origin": problem.origin,
        "hint": problem.hint,
    }

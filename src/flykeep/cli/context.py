"""What every verb shares: the common options, opening the application, and turning errors into exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from flykeep.domain.documents import Plain
from flykeep.domain.errors import FlykeepError

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_PIPED_COLUMNS = 160
_FLAGS = {"--json": "--json", "-v": "--verbose", "--verbose": "--verbose"}


@dataclass(frozen=True, slots=True)
class Common:
    """The options every verb accepts, before it or after it."""

    config: Path | None
    is_json: bool
    is_verbose: bool


def hoist(arguments: Sequence[str]) -> list[str]:
    """The arguments with the common options first, wherever they stood; nothing after `--` is moved."""
    front: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest.extend([word, *words])
        elif word in _FLAGS:
            front.append(_FLAGS[word])
        elif word == "--config":
            front.extend([word, next(words, "")])
        elif word.startswith("--config="):
            front.append(word)
        else:
            rest.append(word)
    return front + rest


def common(ctx: typer.Context) -> Common:
    """The common options of this invocation."""
    found = ctx.find_object(Common)
    if found is None:
        raise RuntimeError("the command line was entered without its callback")
    return found


def console(options: Common) -> Console:
    """Where text for people goes: standard output, or standard error beside a JSON document."""
    is_terminal = (sys.stderr if options.is_json else sys.stdout).isatty()
    return Console(stderr=options.is_json, highlight=False, width=None if is_terminal else _PIPED_COLUMNS)


def errors_console() -> Console:
    """Where failures are told to people."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPED_COLUMNS)


def print_document(document: Plain) -> None:
    """The one JSON object of `--json`."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def with_application(ctx: typer.Context, action: Callable[[Application, Common], Awaitable[int]]) -> None:
    """Open the application from the configuration, act, and exit with the action's code."""
    from flykeep.bootstrap import open_application  # noqa: PLC0415 - heavy; `--help` must not wait for it
    from flykeep.cli.logs import configure_logs  # noqa: PLC0415
    from flykeep.settings import load_settings  # noqa: PLC0415

    options = common(ctx)
    configure_logs(is_verbose=options.is_verbose)

    async def act() -> int:
        settings = load_settings(options.config, os.environ)
        async with open_application(settings) as application:
            return await action(application, options)

    raise typer.Exit(run_async(act, options))


def run_async(act: Callable[[], Awaitable[int]], options: Common) -> int:
    """Run to the end; a FlykeepError becomes its message, its hint and its exit code."""

    async def main() -> int:
        return await act()

    try:
        return asyncio.run(main())
    except FlykeepError as error:
        report_error(error, options)
        return error.exit_code
    except KeyboardInterrupt:
        return 8


def report_error(error: FlykeepError, options: Common) -> None:
    """One error, for a person on standard error, and as the document with `--json`."""
    if options.is_json:
        print_document(
            {
                "error": {
                    "code": error.code,
                    "message": error.message,
                    "hint": error.next_step,
                    "facts": dict(error.facts),
                    "exit_code": error.exit_code,
                }
            }
        )
    out = errors_console()
    out.print(f"[bold red]error[/] {error.code}: ", end="")
    out.print(str(error), markup=False)
    out.print("  next: ", end="", style="bold")
    out.print(error.next_step, markup=False)

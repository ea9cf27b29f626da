"""What every verb shares: the common options, opening the application, and turning errors into exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.text import Text

from flykeep.domain.defects import kind_of, places_of
from flykeep.domain.documents import Plain
from flykeep.domain.errors import FlykeepError, InterruptedRunError

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

EXIT_INTERRUPTED = 8
_PIPED_COLUMNS = 160
_FLAGS = {"--json": "--json", "-v": "--verbose", "--verbose": "--verbose"}
_VERB: ContextVar[str] = ContextVar("verb", default="error")


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
            front.extend([word, *_value(words)])
        elif word.startswith("--config="):
            front.append(word)
        else:
            rest.append(word)
    return front if front and front[-1] == "--config" else front + rest


def _value(words: Iterator[str]) -> list[str]:
    return [word for _, word in zip(range(1), words, strict=False)]


def common(ctx: typer.Context) -> Common:
    """The common options of this invocation; from here on its documents bear the verb's name."""
    found = ctx.find_object(Common)
    if found is None:
        raise RuntimeError("the command line was entered without its callback")
    _VERB.set(".".join(ctx.command_path.split()[1:]))
    return found


def console(options: Common) -> Console:
    """Where text for people goes: standard output, or standard error beside a JSON document."""
    return _console(to_stderr=options.is_json)


def errors_console() -> Console:
    """Where failures are told to people."""
    return _console(to_stderr=True)


def _console(*, to_stderr: bool) -> Console:
    """Lines are wrapped at words on a terminal and never where a program or a file reads them."""
    is_terminal = (sys.stderr if to_stderr else sys.stdout).isatty()
    width = None if is_terminal else _PIPED_COLUMNS
    return Console(stderr=to_stderr, highlight=False, emoji=False, width=width, soft_wrap=not is_terminal)


def print_document(document: dict[str, Plain], *, schema: str | None = None) -> None:
    """The one JSON object of `--json`, with the name and version of its schema first: `flykeep.<verb>/1`."""
    named: dict[str, Plain] = {"schema": f"flykeep.{schema or _VERB.get()}/1"}
    sys.stdout.write(json.dumps(named | document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def with_application(
    ctx: typer.Context, action: Callable[[Application, Common], Awaitable[int]], *, token_file: Path | None = None
) -> None:
    """Open the application from the configuration, act, and exit with the action's code.

    The Fly token in `token_file` takes the place of the configured one, in this process only.
    """
    options = common(ctx)

    async def act() -> int:
        from flykeep.bootstrap import open_application  # noqa: PLC0415 - heavy; `--help` must not wait for it
        from flykeep.cli.logs import configure_logs  # noqa: PLC0415
        from flykeep.cli.restore_token import token_of_file  # noqa: PLC0415
        from flykeep.settings import load_settings  # noqa: PLC0415

        configure_logs(is_verbose=options.is_verbose)
        settings = load_settings(options.config, os.environ)
        token = token_of_file(token_file) if token_file else None
        async with open_application(settings, token=token) as application:
            return await action(application, options)

    raise typer.Exit(run_async(act, options))


def run_async(act: Callable[[], Awaitable[int]], options: Common) -> int:
    """Run to the end; a FlykeepError becomes its message, its hint and its exit code.

    SIGINT and SIGTERM cancel the work, so that a run says how it ended and nothing is left behind.
    """

    async def main() -> int:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await act()

    try:
        return asyncio.run(main())
    except FlykeepError as error:
        report_error(error, options)
        return error.exit_code
    except ExceptionGroup as group:
        failure = _expected_failure(group)
        report_error(failure, options)
        return failure.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        report_interrupt(options)
        return EXIT_INTERRUPTED


def _expected_failure(group: ExceptionGroup[Exception]) -> FlykeepError:
    """The error that ended a group of tasks; raises the group again where it holds a defect too."""
    ours, defects = group.split(FlykeepError)
    if ours is None or defects is not None:
        raise group
    return _first(ours)


def _first(group: ExceptionGroup[FlykeepError]) -> FlykeepError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def report_interrupt(options: Common) -> None:
    """With `--json` even an interrupted verb ends with its one object."""
    if options.is_json:
        print_error("run.interrupted", "interrupted by a signal", hint=InterruptedRunError.hint, exit_code=8)


def report_error(error: FlykeepError, options: Common) -> None:
    """One error, for a person on standard error, and as the document with `--json`."""
    if options.is_json:
        facts = dict(error.facts)
        print_error(error.code, error.message, hint=error.next_step, exit_code=error.exit_code, facts=facts)
    tell_error(error.code, str(error), error.next_step)


def report_defect(error: Exception, *, is_json: bool, is_verbose: bool) -> None:
    """An error nobody foresaw; where it came from is shown with `-v`."""
    text = f"flykeep met {kind_of(error)}"
    if is_json:
        print_error(FlykeepError.code, text, hint=FlykeepError.hint, exit_code=FlykeepError.exit_code)
    if is_verbose:
        sys.stderr.write(places_of(error))
    tell_error(FlykeepError.code, text, FlykeepError.hint)


def print_error(code: str, message: str, *, hint: str, exit_code: int, facts: dict[str, str] | None = None) -> None:
    """The document of an error that ended a verb before its own document was there."""
    known: dict[str, Plain] = dict(facts or {})
    error: dict[str, Plain] = {
        "code": code,
        "message": message,
        "hint": hint,
        "facts": known,
        "exit_code": exit_code,
    }
    print_document({"error": error}, schema="error")


def print_failure(out: Console, what: str, message: str, hint: str) -> None:
    """What failed, in red, and what to do next."""
    out.print(Text(what, style="bold red").append(f" {message}", style="not bold default"))
    out.print(Text(" next", style="bold").append(f" {hint}", style="not bold"))


def tell_error(code: str, message: str, hint: str) -> None:
    """Code, message and what to do next, on standard error."""
    out = errors_console()
    print_failure(out, "error", f"{code}: {message}", hint)

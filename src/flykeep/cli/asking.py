"""Questions before something is deleted or replaced: on a terminal a person answers, elsewhere only `--yes` does."""

from __future__ import annotations

import getpass
import sys

import typer

from flykeep.domain.errors import RefusalError, UsageError


def confirm(question: str, *, is_yes: bool, expected: str | None = None) -> None:
    """Return where the answer is yes, or where `expected` was typed; raise RefusalError for any other answer.

    Raises UsageError where nobody can be asked. The question goes to standard error, beside any document.
    """
    if is_yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this asks before it acts, and nobody can answer here", hint="Add --yes.")
    if expected is None:
        is_agreed = typer.confirm(question, err=True)
    else:
        is_agreed = typer.prompt(f"{question} Type {expected} to go on", err=True, default="", show_default=False) == (
            expected
        )
    if not is_agreed:
        raise RefusalError("nothing was done: the answer was no", hint="Give the command again and answer yes.")


def person() -> str:
    """Who gave this command, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"

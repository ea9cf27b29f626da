"""A second Fly token for one run: read from a file or typed, kept in memory, written nowhere."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from pydantic import SecretStr

from flykeep.domain.errors import FlyForbiddenError, FlyUnauthorizedError, UsageError
from flykeep.domain.run import Run

_RIGHTS = frozenset({FlyForbiddenError.code, FlyUnauthorizedError.code})


def token_of_file(path: Path) -> SecretStr:
    """The token in a file. Raises UsageError where there is none; what the file holds is never shown."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token file {path} cannot be read", hint="Give a file that holds a Fly token.") from error
    if not text or any(character.isspace() and character != " " for character in text):
        raise UsageError(f"the token file {path} does not hold one line", hint="Give a file that holds a Fly token.")
    return SecretStr(text)


def is_for_want_of_rights(run: Run) -> bool:
    """Whether Fly refused the standing token."""
    failure = run.outcome.failure if run.outcome else None
    return failure is not None and failure.code in _RIGHTS


def asked_token() -> SecretStr | None:
    """A token that a person types; None where nobody can, or nobody does."""
    if not sys.stdin.isatty():
        return None
    typer.echo("Fly refuses this to the configured token.", err=True)
    typed = typer.prompt(
        "A token that may, for this run only (empty: stop)", default="", show_default=False, hide_input=True, err=True
    )
    return SecretStr(typed.strip()) if typed.strip() else None

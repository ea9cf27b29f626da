"""The age identity that a person names on the command line, by its file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flykeep.domain.errors import ConfigError

IdentityFile = Annotated[Path | None, typer.Option("--identity", help="A file with the age identity that opens it.")]


def identity_text(identity: Path | None) -> str | None:
    """What the file holds; None where none was named. Raises ConfigError."""
    if identity is None:
        return None
    try:
        return identity.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the identity file cannot be read: {type(error).__name__}", facts={"path": str(identity)}
        ) from None

"""`flykeep worker`: the byte path as its own program; started by flykeep, not by people."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    @app.command(hidden=True)
    def worker() -> None:
        """Read one work order from standard input and carry it out."""
        from flykeep.worker.__main__ import main  # noqa: PLC0415 - only this verb loads the byte path

        main()

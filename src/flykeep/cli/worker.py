"""`flykeep worker`: the byte path as its own program; started by flykeep, not by people."""

from __future__ import annotations

import typer

from flykeep.cli import standing

_EVERYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    @app.command(hidden=True, context_settings=_EVERYTHING)
    def worker(ctx: typer.Context) -> None:
        """Read one work order from standard input and carry it out; with words, one step of a worker that stands."""
        if ctx.args:
            raise typer.Exit(standing.run(ctx.args))
        from flykeep.worker.__main__ import main  # noqa: PLC0415 - only this verb loads the byte path

        main()

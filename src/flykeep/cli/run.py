"""`flykeep run`: the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from flykeep.cli.context import Common, print_document, with_application
from flykeep.cli.logs import configure_logs

if TYPE_CHECKING:
    from flykeep.bootstrap import Application
    from flykeep.settings import Settings


def register(app: typer.Typer) -> None:
    @app.command()
    def run(ctx: typer.Context) -> None:
        """Run the daemon: take snapshots and exports on schedule, check, alert; stops gently on SIGINT or SIGTERM."""
        with_application(ctx, _run)


async def _run(application: Application, options: Common) -> int:
    from flykeep.daemon.assembly import run_daemon  # noqa: PLC0415 - only this verb needs the daemon

    _refuse_what_cannot_hold(application.settings)
    configure_logs(is_verbose=options.is_verbose, is_daemon=True)
    await run_daemon(application)
    if options.is_json:
        print_document({"is_stopped": True})
    return 0


def _refuse_what_cannot_hold(settings: Settings) -> None:
    """A daemon that starts on a configuration which can never be satisfied would alarm for ever, or never."""
    from flykeep.plugins import load_notifiers  # noqa: PLC0415
    from flykeep.settings import InvalidSettingsError, Level, check_settings  # noqa: PLC0415

    plugins = load_notifiers({notifier.type for notifier in settings.notifiers})
    errors = tuple(one for one in check_settings(settings, plugins=plugins) if one.level is Level.ERROR)
    if errors:
        raise InvalidSettingsError(errors)

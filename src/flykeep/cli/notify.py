"""`flykeep notify test [NAME]`: send a test message through the notifiers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.domain.documents import Plain
from flykeep.domain.errors import NotFoundError, NotifyError
from flykeep.domain.messages import test_message

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_LIMIT_S = 30.0


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Try the notifiers.", no_args_is_help=True)
    app.add_typer(group, name="notify")

    @group.command()
    def test(
        ctx: typer.Context,
        name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this notifier.")] = None,
    ) -> None:
        """Deliver a test message at once, past the outbox; exit 1 where one is not accepted."""

        async def action(application: Application, options: Common) -> int:
            return await _test(application, options, name)

        with_application(ctx, action)


async def _test(application: Application, options: Common, name: str | None) -> int:
    if name is not None and name not in application.notifiers:
        known = ", ".join(application.notifiers) or "none"
        raise NotFoundError(f"there is no notifier {name!r}", hint=f"Configured: {known}.")
    results: dict[str, Plain] = {}
    for known_name, notifier in application.notifiers.items():
        if name in {None, known_name}:
            message = test_message(known_name, message_id=application.ids.token(), now=application.clock.now())
            try:
                async with asyncio.timeout(_LIMIT_S):
                    await notifier.send(message)
                results[known_name] = None
            except (NotifyError, TimeoutError) as error:
                results[known_name] = str(error) or "no answer in time"
    if options.is_json:
        print_document({"notifiers": [{"name": key, "error": reason} for key, reason in results.items()]})
    else:
        for key, reason in results.items():
            console(options).print(f"{key}: " + (f"failed: {reason}" if reason else "accepted"), markup=False)
        if not results:
            console(options).print("no notifier is configured: nobody would be told")
    return 1 if any(results.values()) or not results else 0

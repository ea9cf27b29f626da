"""`flykeep incidents [ack|mute]`: what is wrong and known to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import age_text
from flykeep.cli.verdicts import finding_document
from flykeep.domain.documents import Plain, plain
from flykeep.domain.errors import NotFoundError
from flykeep.domain.findings import Incident
from flykeep.settings.durations import parse_duration

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_ID = Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id, or as much of it as is unique.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Open incidents; acknowledge or mute one.", invoke_without_command=True)
    app.add_typer(group, name="incidents")

    @group.callback()
    def incidents(
        ctx: typer.Context,
        everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    ) -> None:
        """List open incidents, newest first."""
        if ctx.invoked_subcommand is None:

            async def action(application: Application, options: Common) -> int:
                return await _list(application, options, is_open=None if everything else True)

            with_application(ctx, action)

    @group.command()
    def ack(ctx: typer.Context, incident: _ID) -> None:
        """Stop its reminders until it resolves."""

        async def action(application: Application, options: Common) -> int:
            now = application.clock.now()
            return await _change(application, options, incident, lambda known: replace(known, acknowledged_at=now))

        with_application(ctx, action)

    @group.command()
    def mute(
        ctx: typer.Context,
        incident: _ID,
        duration: Annotated[str, typer.Option("--for", help="Such as 8h or 2d.")] = "24h",
    ) -> None:
        """Stop its reminders for a while."""

        async def action(application: Application, options: Common) -> int:
            until_at = application.clock.now() + parse_duration(duration)
            return await _change(application, options, incident, lambda known: replace(known, muted_until=until_at))

        with_application(ctx, action)


def _document(incident: Incident) -> dict[str, Plain]:
    return finding_document(incident.finding) | {
        "incident_id": incident.id,
        "opened_at": plain(incident.opened_at),
        "resolved_at": plain(incident.resolved_at),
        "acknowledged_at": plain(incident.acknowledged_at),
        "muted_until": plain(incident.muted_until),
        "reminder_count": incident.reminder_count,
    }


async def _list(application: Application, options: Common, *, is_open: bool | None) -> int:
    async with application.catalog.transaction() as tx:
        found = await tx.incidents(is_open=is_open)
    if options.is_json:
        print_document({"incidents": [_document(incident) for incident in found]})
        return 0
    out, now = console(options), application.clock.now()
    if not found:
        out.print("no incident is open" if is_open else "there never was an incident")
    for incident in found:
        finding = incident.finding
        state = "open" if incident.is_open else "resolved"
        out.print(f"{incident.id}  {state}  {finding.severity.value}  {finding.code.value}  {finding.subject.label}")
        out.print(f"    {finding.summary}; opened {age_text(incident.opened_at, now=now)}", markup=False)
        out.print(f"    next: {finding.next_step}", markup=False)
    return 0


async def _change(
    application: Application, options: Common, incident_id: str, change: Callable[[Incident], Incident]
) -> int:
    async with application.catalog.transaction() as tx:
        matching = [known for known in await tx.incidents(is_open=True) if known.id.startswith(incident_id)]
        if len(matching) != 1:
            raise NotFoundError(
                f"{len(matching)} open incidents match {incident_id!r}", hint="See `flykeep incidents` for the ids."
            )
        changed = change(matching[0])
        await tx.save_incident(changed)
    if options.is_json:
        print_document(_document(changed))
    else:
        console(options).print(f"incident {changed.id}: no reminders for now")
    return 0

"""`flykeep incidents [ack|mute]`: what is wrong and known to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import age_text, count_text, instant_text, print_indented
from flykeep.cli.spans import typed_span
from flykeep.cli.verdicts import SEVERITY_STYLES, finding_document
from flykeep.domain.documents import Plain, plain
from flykeep.domain.errors import NotFoundError
from flykeep.domain.findings import Incident

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_ID = Annotated[str, typer.Argument(metavar="INCIDENT", help="The id of the incident, or as much of it as is unique.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="List open incidents, newest first; acknowledge or mute one.", invoke_without_command=True)
    app.add_typer(group, name="incidents")

    @group.callback()
    def incidents(
        ctx: typer.Context,
        everything: Annotated[bool, typer.Option("--all", help="Show resolved ones too.")] = False,
    ) -> None:
        """List open incidents, newest first."""
        if ctx.invoked_subcommand is None:

            async def action(application: Application, options: Common) -> int:
                return await _list(application, options, is_open=None if everything else True)

            with_application(ctx, action)

    @group.command()
    def ack(ctx: typer.Context, incident: _ID) -> None:
        """Acknowledge one: no more reminders until it resolves."""

        async def action(application: Application, options: Common) -> int:
            now = application.clock.now()
            return await _change(application, options, incident, lambda known: replace(known, acknowledged_at=now))

        with_application(ctx, action)

    @group.command()
    def mute(
        ctx: typer.Context,
        incident: _ID,
        duration: Annotated[str, typer.Option("--for", help="How long, such as 8h or 2d.")] = "24h",
    ) -> None:
        """Mute one: no reminders for a while."""

        async def action(application: Application, options: Common) -> int:
            until_at = application.clock.now() + typed_span(duration)
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
        style = SEVERITY_STYLES[finding.severity] if incident.is_open else "dim"
        out.print(f"{finding.severity.value:<8}", style=style, end=" ")
        out.print(f"{finding.code.value}  {finding.subject.label}", markup=False)
        print_indented(out, finding.summary, by=9)
        print_indented(out, f"incident {incident.id}: {_history(incident, now=now)}", by=9, style="dim")
        if incident.is_open:
            print_indented(out, f"next: {finding.next_step}", by=9)
    return 0


def _history(incident: Incident, *, now: datetime) -> str:
    parts = [f"opened {age_text(incident.opened_at, now=now)}"]
    if incident.reminder_count:
        parts.append(count_text(incident.reminder_count, "reminder"))
    if incident.acknowledged_at:
        parts.append(f"acknowledged {age_text(incident.acknowledged_at, now=now)}")
    if incident.muted_until and incident.muted_until > now:
        parts.append(f"muted until {instant_text(incident.muted_until)}")
    if incident.resolved_at:
        parts.append(f"resolved {age_text(incident.resolved_at, now=now)}")
    return ", ".join(parts)


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
        is_muted = changed.muted_until and not changed.acknowledged_at
        until = f"before {instant_text(changed.muted_until)}" if is_muted else "until it resolves"
        console(options).print(f"incident {changed.id}: no reminder {until}")
    return 0

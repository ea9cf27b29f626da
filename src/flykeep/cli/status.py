"""`flykeep status [TARGET]`: the verdict per target, from the catalog."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import age_text
from flykeep.cli.targets import known_lineages
from flykeep.cli.verdicts import STYLES, print_findings, verdict_document
from flykeep.domain.cadence import longest_gap
from flykeep.domain.findings import Compliance, Incident, Verdict
from flykeep.domain.lineages import resolve_target
from flykeep.domain.target import TargetRef

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def status(
        ctx: typer.Context,
        target: Annotated[str | None, typer.Argument()] = None,
        explain: Annotated[bool, typer.Option("--explain", help="Why, and what to do next.")] = False,
    ) -> None:
        """Say whether every target is restorable as wanted; exit 3 where one is not, or was never checked."""

        async def action(application: Application, options: Common) -> int:
            return await _status(application, options, target, is_explained=explain)

        with_application(ctx, action)


async def _status(application: Application, options: Common, target: str | None, *, is_explained: bool) -> int:
    verdicts, incidents = await _read(application, target)
    is_daemon_alive = await application.owners.is_daemon_alive()
    now = application.clock.now()
    verdicts = await _as_of_now(application, verdicts)
    is_healthy = bool(verdicts) and all(verdict.verdict in _FINE for verdict in verdicts)
    is_healthy = is_healthy and (target is not None or not any(_is_bad(incident) for incident in incidents))
    if options.is_json:
        print_document(
            {
                "is_healthy": is_healthy,
                "is_daemon_alive": is_daemon_alive,
                "targets": [verdict_document(verdict) for verdict in verdicts],
                "open_incidents": [incident.finding.key for incident in incidents],
            }
        )
        return 0 if is_healthy else 3
    out = console(options)
    if not verdicts:
        out.print("nothing was checked yet: run `flykeep check`, or start the daemon with `flykeep run`")
    for verdict in verdicts:
        out.print(f"{verdict.verdict.value:<10}", style=STYLES[verdict.verdict], end=" ")
        out.print(_headline(verdict, now=now), markup=False)
        if is_explained:
            print_findings(out, verdict.findings, now=now)
    if incidents:
        out.print(f"{len(incidents)} open incidents: see `flykeep incidents`", style="yellow")
    if not is_daemon_alive:
        out.print("no daemon is running: nothing happens on schedule", style="yellow")
    return 0 if is_healthy else 3


_MISSED_CHECKS = 4
_FINE = frozenset({Verdict.HEALTHY, Verdict.PAUSED, Verdict.UNWATCHED})


async def _read(application: Application, target: str | None) -> tuple[list[Compliance], list[Incident]]:
    lineages = await known_lineages(application)
    wanted = {resolve_target(TargetRef.parse(target), lineages).id} if target else None
    async with application.catalog.transaction() as tx:
        verdicts = [found for found in await tx.verdicts() if wanted is None or found.lineage_id in wanted]
        incidents = list(await tx.incidents(is_open=True))
    if wanted:
        incidents = [incident for incident in incidents if incident.finding.subject.lineage_id in wanted]
    return sorted(verdicts, key=lambda verdict: verdict.label), incidents


async def _as_of_now(application: Application, verdicts: list[Compliance]) -> list[Compliance]:
    """A pause shows as one, and a verdict that nobody renewed is not news: without checks nothing is known."""
    now = application.clock.now()
    too_old = longest_gap(application.settings.daemon.check) * _MISSED_CHECKS
    async with application.catalog.transaction() as tx:
        pauses = {pause.target: pause for pause in await tx.pauses(now=now)}
    shown: list[Compliance] = []
    for verdict in verdicts:
        pause = pauses.get(verdict.lineage_id)
        if pause is not None:
            shown.append(replace(verdict, verdict=Verdict.PAUSED, reason=f"paused: {pause.reason}"))
        elif now - verdict.evaluated_at > too_old:
            reason = f"last judged {verdict.verdict.value}, but not checked since"
            shown.append(replace(verdict, verdict=Verdict.UNKNOWN, reason=reason, is_conclusive=False))
        else:
            shown.append(verdict)
    return shown


def _is_bad(incident: Incident) -> bool:
    return incident.finding.severity.is_unhealthy


def _headline(verdict: Compliance, *, now: datetime) -> str:
    if verdict.restorable_as_of is None:
        restorable = "no restorable backup"
    else:
        restorable = f"restorable as of {age_text(verdict.restorable_as_of, now=now)}"
    checked = age_text(verdict.evaluated_at, now=now)
    reason = f" ({verdict.reason})" if verdict.reason else ""
    return f"{verdict.label}: {restorable}, never proven by a drill, checked {checked}{reason}"

"""`flykeep status [TARGET]`: the verdict per target, from the catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import age_text, count_text, print_indented, print_table
from flykeep.cli.targets import TARGET_HELP, known_lineages
from flykeep.cli.verdicts import FINE, STYLES, headline, print_findings, proven_text, verdict_document
from flykeep.domain.cadence import longest_gap
from flykeep.domain.documents import Plain
from flykeep.domain.findings import Compliance, FindingCode, Incident, Verdict
from flykeep.domain.ids import LineageId
from flykeep.domain.lineages import resolve_target, rule_of
from flykeep.domain.policy import TargetRule
from flykeep.domain.target import Lineage, TargetRef
from flykeep.domain.verification import never_opened
from flykeep.ports.catalog import Pause

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_MISSED_CHECKS = 4
UNOPENED = "contents never opened by flykeep"


def register(app: typer.Typer) -> None:
    @app.command()
    def status(
        ctx: typer.Context,
        target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help=TARGET_HELP)] = None,
        explain: Annotated[bool, typer.Option("--explain", help="Say why, and what to do next.")] = False,
    ) -> None:
        """Say whether every target is restorable as wanted; exit 3 where one is not, or was not checked lately."""

        async def action(application: Application, options: Common) -> int:
            found = await _read(application, target)
            if options.is_json:
                _print_document(found)
            else:
                _print(console(options), found, is_explained=explain)
            return 0 if found.is_healthy else 3

        with_application(ctx, action)


@dataclass(frozen=True, slots=True)
class _Status:
    """What the catalog says at `now`; a verdict that nobody renewed says nothing any more."""

    verdicts: Sequence[Compliance]
    incidents: Sequence[Incident]
    is_daemon_alive: bool
    now: datetime
    unopened: frozenset[LineageId] = frozenset()  # those with encrypted artifacts that flykeep never looked into

    @property
    def is_healthy(self) -> bool:
        return bool(self.verdicts) and all(one.verdict in FINE for one in self.verdicts) and not self.bad_incidents

    @property
    def on_platform(self) -> Sequence[str]:
        """The targets all of whose exports would be lost together with the Fly account."""
        codes = {one.label: {finding.code for finding in one.findings} for one in self.verdicts}
        return [label for label, found in codes.items() if FindingCode.EXPORT_ON_PLATFORM in found]

    @property
    def bad_incidents(self) -> Sequence[Incident]:
        return [incident for incident in self.incidents if incident.finding.severity.is_unhealthy]

    @property
    def answer(self) -> tuple[str, str]:
        """Whether everything is restorable, in a line, and its style."""
        total = len(self.verdicts)
        counts = Counter(one.verdict for one in self.verdicts)
        if not total:
            return "nothing is known yet: run `flykeep check`, or start the daemon with `flykeep run`", "bold yellow"
        if counts[Verdict.UNHEALTHY]:
            return (
                f"NOT everything is restorable as wanted: {counts[Verdict.UNHEALTHY]} of {total} unhealthy",
                "bold red",
            )
        if counts[Verdict.UNKNOWN]:
            return f"nobody can say: {counts[Verdict.UNKNOWN]} of {total} not known to be restorable", "bold yellow"
        if self.bad_incidents:
            return (
                f"every target is restorable as wanted, but {count_text(len(self.bad_incidents), 'incident')} open",
                "bold red",
            )
        silent = ", ".join(
            f"{counts[kind]} {kind.value}" for kind in (Verdict.PAUSED, Verdict.UNWATCHED) if counts[kind]
        )
        if not counts[Verdict.HEALTHY]:
            return f"nothing is judged: {silent}", "bold yellow"
        every = f"everything is restorable as wanted: {counts[Verdict.HEALTHY]} of {total} healthy"
        return every + (f", {silent}" if silent else ""), "bold green"


async def _read(application: Application, target: str | None) -> _Status:
    lineages = await known_lineages(application)
    wanted = resolve_target(TargetRef.parse(target), lineages).id if target else None
    now = application.clock.now()
    async with application.catalog.transaction() as tx:
        known = {lineage.id for lineage in lineages}  # not those that were retired
        judged = {found.lineage_id: found for found in await tx.verdicts() if found.lineage_id in known}
        incidents = await tx.incidents(is_open=True)
        pauses = {pause.target: pause for pause in await tx.pauses(now=now)}
    rules = application.settings.targets
    never = _never_checked(rules, lineages, judged, now=now)
    too_old = now - longest_gap(application.settings.daemon.check) * _MISSED_CHECKS
    verdicts = [_as_of_now(one, pauses, too_old) for one in (*judged.values(), *never)]
    if wanted:
        verdicts = [one for one in verdicts if one.lineage_id == wanted]
        incidents = [one for one in incidents if one.finding.subject.lineage_id == wanted]
    is_daemon_alive = await application.owners.is_daemon_alive()
    unopened = await _unopened(application, verdicts)
    return _Status(sorted(verdicts, key=lambda one: one.label), incidents, is_daemon_alive, now, unopened)


async def _unopened(application: Application, verdicts: Sequence[Compliance]) -> frozenset[LineageId]:
    """Those whose encrypted artifacts nobody looked into: no verification here, and no drill elsewhere."""
    if application.settings.encryption.identity_secret is not None:
        return frozenset()
    async with application.catalog.transaction() as tx:
        artifacts = await tx.artifacts()
        exported = {one.manifest.origin.lineage_id for one in artifacts}
        proofs = {lineage_id: await tx.proofs(lineage_id, is_passed=True) for lineage_id in exported}
    proven = {at for at, every in proofs.items() if any(one.proof.source.kind == "artifact" for one in every)}
    return never_opened(artifacts, proven=proven) & {verdict.lineage_id for verdict in verdicts}


def _never_checked(
    rules: tuple[TargetRule, ...], lineages: Sequence[Lineage], judged: dict[LineageId, Compliance], *, now: datetime
) -> list[Compliance]:
    """What the configuration wants and no check has judged: volumes, and targets that no known volume matches."""
    wanted = [lineage for lineage in lineages if lineage.id not in judged and rule_of(lineage, rules) is not None]
    matched = {rule for lineage in lineages if (rule := rule_of(lineage, rules)) is not None}
    volumes = [_unknown(lineage.id, lineage.label, "never checked", now) for lineage in wanted]
    if not lineages:
        return volumes
    empty = [rule.match for rule in rules if rule not in matched and rule.policy.is_alarming]
    return volumes + [_unknown(LineageId(""), match, "no known volume matches this target", now) for match in empty]


def _unknown(lineage_id: LineageId, label: str, reason: str, now: datetime) -> Compliance:
    return Compliance(lineage_id, label, Verdict.UNKNOWN, (), now, is_conclusive=False, reason=reason)


def _as_of_now(verdict: Compliance, pauses: dict[str, Pause], too_old: datetime) -> Compliance:
    """A pause shows as one, and a verdict that nobody renewed is not news: without checks nothing is known."""
    pause = pauses.get(verdict.lineage_id)
    if pause is not None:
        return replace(verdict, verdict=Verdict.PAUSED, reason=f"paused: {pause.reason}")
    if verdict.evaluated_at < too_old:
        reason = f"last judged {verdict.verdict.value}, but not checked since"
        return replace(verdict, verdict=Verdict.UNKNOWN, reason=reason, is_conclusive=False)
    return verdict


def _print_document(found: _Status) -> None:
    print_document(
        {
            "is_healthy": found.is_healthy,
            "answer": found.answer[0],
            "is_daemon_alive": found.is_daemon_alive,
            "targets": [_target_document(verdict, found) for verdict in found.verdicts],
            "open_incidents": [incident.finding.key for incident in found.incidents],
        }
    )


def _target_document(verdict: Compliance, found: _Status) -> dict[str, Plain]:
    return verdict_document(verdict) | {
        "headline": headline(verdict, now=found.now),
        "contents": UNOPENED if verdict.lineage_id in found.unopened else None,
    }


def _print(out: Console, found: _Status, *, is_explained: bool) -> None:
    answer, style = found.answer
    out.print(answer, style=style, markup=False)
    if found.verdicts:
        out.print()
        rows = [_row(verdict, now=found.now) for verdict in found.verdicts]
        columns = ("verdict", "target", "restorable as of", "proven", "checked")
        print_table(out, *columns, rows=rows, styles=[STYLES[one.verdict] for one in found.verdicts])
    for verdict in found.verdicts:
        if verdict.reason or is_explained:
            out.print()
            out.print(verdict.label + (f": {verdict.reason}" if verdict.reason else ""), markup=False)
        if is_explained:
            print_indented(out, headline(verdict, now=found.now), by=2)
            if verdict.lineage_id in found.unopened:
                print_indented(out, f"{UNOPENED}: no identity_secret is configured", by=2, style="dim")
            print_findings(out, verdict.findings, now=found.now)
    out.print()
    if found.incidents:
        out.print(f"{count_text(len(found.incidents), 'open incident')}: see `flykeep incidents`", style="yellow")
    if found.on_platform:
        labels = ", ".join(found.on_platform)
        print_indented(out, f"exports that stay on the platform, lost with the account: {labels}", by=0, style="yellow")
    if not found.is_daemon_alive:
        print_indented(out, "no daemon is running: nothing happens on schedule", by=0, style="yellow")


def _row(verdict: Compliance, *, now: datetime) -> tuple[str, ...]:
    is_judged = bool(verdict.lineage_id) and verdict.reason != "never checked"
    return (
        verdict.verdict.value,
        verdict.label,
        age_text(verdict.restorable_as_of, now=now) if verdict.restorable_as_of else "-",
        proven_text(verdict.proof, now=now) if verdict.proof else "never",
        age_text(verdict.evaluated_at, now=now) if is_judged else "never",
    )

"""`flykeep check [TARGET]`: evaluate now, against Fly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.cli.verdicts import FINE, STYLES, finding_document, print_findings, verdict_document
from flykeep.domain.ids import LineageId
from flykeep.jobs.check import CheckReport

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def check(
        ctx: typer.Context,
        target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help=TARGET_HELP)] = None,
        notify: Annotated[bool, typer.Option("--notify", help="Also record incidents and tell people.")] = False,
    ) -> None:
        """Read Fly and judge every target; exit 3 where something is wrong or could not be known."""

        async def action(application: Application, options: Common) -> int:
            wanted = (await find_lineage(application, target)).id if target else None
            report = await application.check.evaluate()
            if notify:
                await application.alerting.record(report.verdicts, report.org, check_id=application.ids.run_id())
                if not await application.owners.is_daemon_alive():  # else it delivers, and nobody is told twice
                    await application.outbox.deliver_due()
            return _show(report, wanted, options, application)

        with_application(ctx, action)


def _show(report: CheckReport, wanted: LineageId | None, options: Common, application: Application) -> int:
    verdicts = [verdict for verdict in report.verdicts if wanted in {None, verdict.lineage_id}]
    org_findings = () if wanted and report.is_conclusive else report.org.findings
    findings = [*(finding for verdict in verdicts for finding in verdict.findings), *org_findings]
    is_healthy = report.is_conclusive and all(verdict.verdict in FINE for verdict in verdicts)
    is_healthy = is_healthy and not any(finding.severity.is_unhealthy for finding in findings)
    if options.is_json:
        print_document(
            {
                "is_healthy": is_healthy,
                "is_conclusive": report.is_conclusive,
                "targets": [verdict_document(verdict) for verdict in verdicts],
                "findings": [finding_document(finding) for finding in findings],
            }
        )
        return 0 if is_healthy else 3
    out, now = console(options), application.clock.now()
    for verdict in verdicts:
        out.print(f"{verdict.verdict.value:<10}", style=STYLES[verdict.verdict], end=" ")
        out.print(verdict.label + (f": {verdict.reason}" if verdict.reason else ""), markup=False)
        print_findings(out, verdict.findings, now=now)
    print_findings(out, org_findings, now=now)
    if not verdicts:
        out.print("no volume of the organization is a target", style="yellow")
    return 0 if is_healthy else 3

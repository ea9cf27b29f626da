"""`flykeep recover APP`: rebuild an app that is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flykeep.cli.acting import act_on, report
from flykeep.cli.asking import confirm, person
from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.identity import IdentityFile, identity_text
from flykeep.cli.recover_runbook import Wanted, print_runbook
from flykeep.domain.documents import Plain, plain
from flykeep.domain.errors import ConfigError, RefusalError
from flykeep.domain.ids import AppName
from flykeep.domain.policy import JobKind
from flykeep.domain.recover_plan import RecoverPlan, RecoverWish, by_hand, source_text
from flykeep.domain.run import Run, RunRequest, RunState
from flykeep.domain.secret_file import parse_secrets
from flykeep.domain.target import recovery_lineage
from flykeep.domain.wording import instant

if TYPE_CHECKING:
    from flykeep.bootstrap import Application
    from flykeep.jobs.recover import RecoverInputs


def register(app: typer.Typer) -> None:
    @app.command()
    def recover(
        ctx: typer.Context,
        lost: Annotated[str, typer.Argument(metavar="APP", help="The app that is gone.")],
        name: Annotated[
            str | None, typer.Option("--as", metavar="NAME", help="Build it under this name; without it, its own.")
        ] = None,
        org: Annotated[str | None, typer.Option("--org", help="The organization; without it, the app's own.")] = None,
        secrets: Annotated[
            Path | None,
            typer.Option("--secrets", help="A file with the app's secrets: NAME=value lines, or TOML (*.toml)."),
        ] = None,
        identity: IdentityFile = None,
        no_machines: Annotated[
            bool, typer.Option("--no-machines", help="Leave the machines to a `fly deploy` afterwards.")
        ] = False,
        plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and stop.")] = False,
        runbook: Annotated[
            bool, typer.Option("--runbook", help="Print how to do it by hand, without flykeep, and stop.")
        ] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        reason: Annotated[str | None, typer.Option(help="Why it is done; kept with the run.")] = None,
    ) -> None:
        """Rebuild a lost app from what is kept of it; given again, it goes on where it was interrupted."""

        if runbook and (plan or secrets or no_machines):
            raise typer.BadParameter("--runbook goes with --as, --org and --identity only")

        async def action(application: Application, options: Common) -> int:
            if runbook:
                wanted = Wanted(AppName(lost), AppName(name or lost), org, identity_text(identity))
                return await print_runbook(application, options, wanted)
            inputs = _inputs(application, lost, name, org, secrets, identity, is_bare=no_machines)
            return await _recover(application, options, inputs, is_plan=plan, is_agreed=yes, reason=reason)

        with_application(ctx, action)


def _inputs(
    application: Application,
    lost: str,
    name: str | None,
    org: str | None,
    secrets: Path | None,
    identity: Path | None,
    *,
    is_bare: bool,
) -> RecoverInputs:
    from flykeep.jobs.recover import RecoverInputs  # noqa: PLC0415 - heavy; `--help` must not wait for it

    values = parse_secrets(_text(secrets), is_toml=secrets.suffix == ".toml") if secrets else {}
    wish = RecoverWish(AppName(lost), AppName(name or lost), org, is_bare, frozenset(values))
    configured = application.settings.identity()
    opened_by = identity_text(identity) or (configured.get_secret_value() if configured else None)
    return RecoverInputs(wish, values, opened_by)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the file of secrets cannot be read: {type(error).__name__}", facts={"path": str(path)}
        ) from None


async def _recover(
    application: Application,
    options: Common,
    inputs: RecoverInputs,
    *,
    is_plan: bool,
    is_agreed: bool,
    reason: str | None,
) -> int:
    planned = await application.recover.planner.plan(inputs.wish, identity=inputs.identity)
    if is_plan and options.is_json:
        print_document({"plan": plan_document(planned)})
        return 4 if planned.refusals else 0
    _print_plan(options, planned)
    if is_plan:
        return 4 if planned.refusals else 0
    if planned.refusals:
        raise RefusalError("; ".join(planned.refusals), hint=planned.hint)
    confirm(f"Rebuild {planned.described.app} as {planned.name}?", is_yes=is_agreed)
    application.recover.handed.inputs = inputs
    run, code = await act_on(
        application,
        options,
        kind=JobKind.RECOVER,
        lineage_id=recovery_lineage(planned.described.app),
        label=f"app {planned.described.app} as {planned.name}",
        request=RunRequest(reason=reason, to_app=planned.name, actor=person()),
        is_local=True,  # the secrets are in this process and go nowhere else
    )
    report(run, options)
    if not options.is_json:
        _print_result(options, run)
    return code


def plan_document(planned: RecoverPlan) -> dict[str, Plain]:
    """The plan as the JSON contract shows it."""
    return {
        "app": planned.described.app,
        "name": planned.name,
        "org": planned.org,
        "described_at": plain(planned.described.described_at),
        "creates_app": planned.is_app_made,
        "secrets": plain(planned.secrets),
        "addresses": [plain(each.kind.value) for each in planned.addresses],
        "volumes": [
            {
                "name": each.lost.name,
                "lost_id": each.lost.id,
                "region": each.lost.region,
                "size_gb": each.size_gb,
                "source": each.source.kind.value if each.source else None,
                "source_id": each.source.id if each.source else None,
                "as_of": plain(each.source.as_of_at) if each.source else None,
            }
            for each in planned.volumes
        ],
        "machines": [
            {"name": each.name, "lost_id": each.id, "region": each.region, "image": each.image}
            for each in planned.machines
        ],
        "cents_a_month": planned.cents_a_month,
        "warnings": plain(planned.warnings),
        "refusals": plain(planned.refusals),
        "by_hand": plain(by_hand(planned, ())),
    }


def _print_plan(options: Common, planned: RecoverPlan) -> None:
    out = console(options)
    described, names = planned.described, planned.secrets
    out.print(Text(f"{described.app} as it was at {instant(described.described_at)}", style="bold"))
    app = "made" if planned.is_app_made else "there already"
    network = f", network {described.network}" if described.network else ""
    out.print(f"  app {planned.name}: {app}, organization {planned.org}{network}", markup=False)
    out.print(f"  secrets: {', '.join(names.given) or 'none'}", markup=False)
    if names.extra:
        out.print(f"    not known before, set all the same: {', '.join(names.extra)}", markup=False)
    if names.missing:
        out.print(Text(f"    MISSING: {', '.join(names.missing)}", style="red"))
    out.print(f"  addresses: {', '.join(each.kind.value for each in planned.addresses) or 'none'}", markup=False)
    for volume in planned.volumes:
        where = f"{volume.size_gb} GB in {volume.lost.region}"
        out.print(f"  volume {volume.lost.name}: {where}, {source_text(volume)}", markup=False)
    for machine in planned.machines:
        out.print(f"  machine {machine.name} in {machine.region}: {machine.image}", markup=False)
    if planned.is_bare:
        out.print("  machines: none, by --no-machines")
    out.print(f"  costs {planned.cents_a_month / 100:.2f} USD a month for volumes and addresses, machines besides")
    for warning in planned.warnings:
        out.print(Text(f"  note: {warning}", style="yellow"))
    for refusal in planned.refusals:
        out.print(Text(f"  refused: {refusal}", style="red"))


def _print_result(options: Common, run: Run) -> None:
    if run.outcome is None or run.state not in {RunState.SUCCEEDED, RunState.DEGRADED}:
        return
    out, result = console(options), json.loads(run.outcome.result_json)
    out.print(Text(f"{result['app']} is rebuilt as {result['name']}", style="bold"))
    for volume in result["volumes"]:
        out.print(f"  volume {volume['name']} {volume['id']} in {volume['region']}: {volume['source']}", markup=False)
    for machine in result["machines"]:
        style = "none" if machine["is_well"] else "red"
        out.print(Text(f"  machine {machine['name']} {machine['id']}: {machine['health']}", style=style))
    out.print(f"  addresses: {', '.join(result['addresses']) or 'none'}", markup=False)
    if result["by_hand"]:
        out.print(Text("by hand now:", style="bold"))
    for step in result["by_hand"]:
        out.print(f"  {step}", markup=False)

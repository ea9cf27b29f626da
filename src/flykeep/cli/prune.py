"""`flykeep prune [TARGET]`: what retention keeps and removes, with reasons; and its removal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flykeep.cli.acting import LOCAL, act_on, report
from flykeep.cli.asking import confirm, person
from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import bytes_text, count_text, instant_text, print_table
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.domain.documents import Plain, plain
from flykeep.domain.errors import RefusalError
from flykeep.domain.policy import JobKind
from flykeep.domain.prune import PlannedCopy, locked_words
from flykeep.domain.retention import Decision, Fate
from flykeep.domain.run import RunRequest
from flykeep.domain.target import ORG_LINEAGE, Lineage

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_STYLES = {Fate.KEEP: "", Fate.REMOVE: "bold yellow", Fate.REFUSE: "bold red"}


def register(app: typer.Typer) -> None:
    @app.command()
    def prune(
        ctx: typer.Context,
        target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help=TARGET_HELP)] = None,
        apply: Annotated[bool, typer.Option("--apply", help="Do it; without it the plan is only shown.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        allow_share: Annotated[
            float | None,
            typer.Option(
                min=0.0, max=1.0, help="Let this part of a target's artifacts in one store go at once; --yes does not."
            ),
        ] = None,
        local: LOCAL = False,
    ) -> None:
        """Show what the keep rules keep and remove, and why; with --apply remove it."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target) if target else None
            copies = await application.prune.planner.plan(lineage.id if lineage else None, max_delete_share=allow_share)
            if not any(copy.is_ruled for copy in copies):
                raise RefusalError(
                    "; ".join(dict.fromkeys(copy.plan.refusal or "" for copy in copies)) or "there is no artifact",
                    hint="Give a policy's copy a `keep` table that says what to keep.",
                )
            if not apply:
                _show(copies, options)
                return 0
            going = sum(len(copy.plan.removals) for copy in copies)
            if going and not yes:
                _print(copies, options)
            if going:
                confirm(f"Remove {count_text(going, 'artifact')} for good?", is_yes=yes)
            request = RunRequest(
                is_applied=True,
                lineage_id=lineage.id if lineage else None,
                actor=person(),
                max_delete_share=allow_share,
            )
            return await _apply(application, options, request, lineage, is_local=local)

        with_application(ctx, action)


async def _apply(
    application: Application, options: Common, request: RunRequest, lineage: Lineage | None, *, is_local: bool
) -> int:
    label = lineage.label if lineage else "the organization"
    run, code = await act_on(
        application,
        options,
        kind=JobKind.PRUNE,
        lineage_id=ORG_LINEAGE,
        label=label,
        request=request,
        is_local=is_local,
    )
    report(run, options)
    if not options.is_json and run.outcome is not None:
        _print_result(json.loads(run.outcome.result_json), options)
    return code


def _print_result(result: dict[str, Any], options: Common) -> None:
    out = console(options)
    for copy in result.get("copies", []):
        line = f"{copy['target']} in {copy['store']}: {count_text(len(copy['removed']), 'artifact')} removed"
        out.print(f"{line}, {bytes_text(copy['freed_bytes'])} freed, {copy['kept']} kept", markup=False)
        for words in (*(locked_words(one) for one in copy["locked"]), *copy["held"]):
            out.print(f"  left for now: {words}", markup=False)


def _show(copies: tuple[PlannedCopy, ...], options: Common) -> None:
    if options.is_json:
        print_document({"copies": [_document(copy) for copy in copies]})
        return
    _print(copies, options)
    if any(copy.plan.removals for copy in copies):
        console(options).print("nothing was removed; add --apply to do it")


def _document(copy: PlannedCopy) -> dict[str, Plain]:
    return {
        "target": copy.label,
        "lineage_id": copy.lineage.id,
        "store": copy.store,
        "is_ruled": copy.is_ruled,
        "refusal": copy.plan.refusal,
        "artifacts": [
            {
                "export_id": decision.artifact.export_id,
                "started_at": plain(decision.artifact.manifest.started_at),
                "stored_bytes": decision.artifact.stored_bytes,
                "fate": decision.fate.value,
                "reasons": list(decision.reasons),
            }
            for decision in copy.plan.decisions
        ],
    }


def _print(copies: tuple[PlannedCopy, ...], options: Common) -> None:
    out = console(options)
    for number, copy in enumerate(copies):
        if number:
            out.print()
        out.print(f"{copy.label} in {copy.store}", style="bold", markup=False)
        if copy.plan.refusal:
            out.print(f"nothing is removed: {copy.plan.refusal}", style="red" if copy.is_ruled else "", markup=False)
        decisions = copy.plan.decisions
        print_table(
            out,
            *("fate", "artifact", "as of", "stored", "why"),
            rows=[_row(decision) for decision in decisions],
            styles=[_STYLES[decision.fate] for decision in decisions],
        )


def _row(decision: Decision) -> tuple[str, ...]:
    artifact = decision.artifact
    return (
        decision.fate.value,
        artifact.export_id,
        instant_text(artifact.manifest.started_at),
        bytes_text(artifact.stored_bytes),
        "; ".join(decision.reasons),
    )

"""`flykeep drill TARGET`: rehearse a restore now."""

from __future__ import annotations

import json
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from flykeep.cli.acting import LOCAL, NO_WAIT, act, report
from flykeep.cli.context import Common, console, with_application
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.domain.policy import JobKind
from flykeep.domain.run import RunRequest
from flykeep.domain.wording import took

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


class From(StrEnum):
    """What a drill restores."""

    SNAPSHOT = "snapshot"
    ARTIFACT = "artifact"


def register(app: typer.Typer) -> None:
    @app.command()
    def drill(
        ctx: typer.Context,
        target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)],
        source: Annotated[
            From | None,
            typer.Option(
                "--from",
                help="What is restored; else a snapshot where [worker] image is set, or an artifact. "
                "artifact needs identity_secret.",
            ),
        ] = None,
        reason: Annotated[str | None, typer.Option(help="Why it is done; kept with the run.")] = None,
        no_wait: NO_WAIT = False,
        local: LOCAL = False,
    ) -> None:
        """Restore the newest backup into something temporary, probe it, remove it, and sign what was seen.

        Exit 7 where the backup does not hold what it must; 4, 5 or 6 where the drill could not be carried out.
        """

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target)
            run, code = await act(
                application,
                options,
                kind=JobKind.DRILL,
                lineage=lineage,
                request=RunRequest(reason=reason, source=source.value if source else None),
                is_local=local,
                is_waiting=not no_wait,
            )
            result = json.loads(run.outcome.result_json) if run.outcome else {}
            report(run, options, extra={"proof": result.get("proof")})
            if result.get("proof") and not options.is_json:
                _print(console(options), result)
            return code

        with_application(ctx, action)


def _print(out: Console, result: dict[str, Any]) -> None:
    """The proof, shortly; `flykeep runs RUN --json` has all of it."""
    proof = result["proof"]
    source = proof["source"]
    name = source["snapshot_id"] or source["export_id"]
    restore = timedelta(milliseconds=sum(one["took_ms"] for one in proof["timings"] if one["is_restore"]))
    out.print(f"proof {proof['proof_id']}: {source['kind']} {name} of {source['as_of_at']}", markup=False)
    if proof["contents"]:
        out.print(f"  restored in {took(restore)}: {proof['contents']['files']} files", markup=False)
    for probe in proof["probes"]:
        style = "" if probe["is_passed"] else "bold red"
        word = "passed" if probe["is_passed"] else "FAILED"
        out.print(f"  {word}  {probe['probe']}: {probe['detail']}", style=style, markup=False)
    if against := proof["against"]:
        found = against["comparison"]
        counts = ", ".join(f"{found[name]} {name}" for name in ("equal", "changed", "gone", "added", "contradictions"))
        out.print(f"  beside artifact {against['export_id']}: {counts}", markup=False)
    out.print(f"  signed by {result['signer']}", markup=False)
    for store in result["not_stored"]:
        out.print(f"  store {store} did not take the proof", style="yellow", markup=False)

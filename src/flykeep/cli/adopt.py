"""`flykeep adopt TARGET VOLUME_ID|--machine ID`: continue a target after its app was rebuilt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flykeep.cli.asking import confirm, person
from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.render import count_text
from flykeep.domain.adoption import AdoptionPlan, AdoptionWish
from flykeep.domain.documents import Plain, plain
from flykeep.domain.errors import UsageError
from flykeep.domain.ids import AppName, MachineId, VolumeId
from flykeep.ports.catalog import MergeCounts

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def adopt(
        ctx: typer.Context,
        target: Annotated[
            str, typer.Argument(metavar="TARGET", help="The target that was lost: app/volume, or its lineage's id.")
        ],
        volume: Annotated[
            str | None, typer.Argument(metavar="[VOLUME_ID]", help="The volume that holds its data now.")
        ] = None,
        machine: Annotated[
            str | None, typer.Option(metavar="ID", help="Instead of a volume: the machine that mounts it.")
        ] = None,
        new_app: Annotated[
            str | None, typer.Option("--app", metavar="APP", help="The volume's app, where it has another name now.")
        ] = None,
        plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and stop.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        reason: Annotated[str, typer.Option(help="Why; kept in the audit.")] = "",
    ) -> None:
        """Go on with a target's history after its app was rebuilt by hand; changes flykeep's catalog only."""
        if (volume is None) == (machine is None):
            raise UsageError(
                "name the volume or its machine", hint="`flykeep adopt TARGET VOLUME_ID`, or --machine ID."
            )
        wish = AdoptionWish(
            VolumeId(volume) if volume else None,
            MachineId(machine) if machine else None,
            AppName(new_app) if new_app else None,
        )

        async def action(application: Application, options: Common) -> int:
            planned = await application.adopt.plan(target, wish)
            if not options.is_json:
                print_plan(console(options), planned)
            counts = None
            if not plan:
                confirm(f"Continue {planned.before.label} with volume {planned.volume.id}?", is_yes=yes)
                counts = await application.adopt.adopt(planned, actor=person(), reason=reason)
            if options.is_json:
                print_document(_document(planned, counts))
            elif counts is not None:
                print_done(console(options), planned, counts)
            return 0

        with_application(ctx, action)


def _document(planned: AdoptionPlan, counts: MergeCounts | None) -> dict[str, Plain]:
    return {
        "target": planned.after.label,
        "lineage_id": planned.after.id,
        "volume_id": planned.volume.id,
        "machine_id": planned.after.machine_id,
        "former_volume_ids": plain(planned.after.volume_ids[:-1]),
        "merged_lineage_id": planned.merged.id if planned.merged else None,
        "is_applied": counts is not None,
        "merged": plain(counts),
        "reasons": plain(planned.reasons),
        "way_back": planned.way_back,
    }


def print_plan(out: Console, planned: AdoptionPlan) -> None:
    """What would be done, line by line."""
    for reason in planned.reasons:
        out.print(f"  {reason}", markup=False)


def print_done(out: Console, planned: AdoptionPlan, counts: MergeCounts) -> None:
    """What was done, and how to go back."""
    taken = ", ".join(
        count_text(count, noun)
        for count, noun in (
            (counts.runs, "run"),
            (counts.snapshots, "snapshot"),
            (counts.artifacts, "artifact"),
            (counts.proofs, "proof"),
        )
        if count
    )
    out.print(f"{planned.after.label} goes on" + (f"; {taken} were taken in" if taken else ""), markup=False)
    if planned.way_back:
        out.print(f"go back: {planned.way_back}", markup=False)

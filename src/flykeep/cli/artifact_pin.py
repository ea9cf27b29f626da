"""`flykeep artifact pin|unpin ID`: hold an artifact against retention, and let it go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.acting import EXIT_DEGRADED
from flykeep.cli.asking import person
from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.domain.documents import Plain
from flykeep.domain.ids import ExportId

if TYPE_CHECKING:
    from flykeep.bootstrap import Application
    from flykeep.jobs.pins import NotStored

_ID = Annotated[str, typer.Argument(metavar="ID", help="The export id of the artifact, in whatever stores it is.")]


def register(group: typer.Typer) -> None:
    @group.command()
    def pin(
        ctx: typer.Context,
        artifact_id: _ID,
        reason: Annotated[str, typer.Option(help="Why; it is shown wherever the artifact is.")] = "pinned by hand",
    ) -> None:
        """Hold it in every store: retention never removes it, and no target is erased with it."""

        async def action(application: Application, options: Common) -> int:
            export_id, actor = ExportId(artifact_id), person()
            not_stored = await application.pins.pin(export_id, reason=reason, actor=actor)
            if options.is_json:
                failed: list[Plain] = [{"store": one.store, "reason": one.reason} for one in not_stored]
                said: dict[str, Plain] = {"export_id": export_id, "is_pinned": True, "reason": reason}
                print_document(said | {"pinned_by": actor, "not_stored": failed})
            else:
                console(options).print(f"artifact {export_id} is pinned: {reason}", markup=False)
                for one in not_stored:
                    console(options).print(_not_stored(one), markup=False)
            return EXIT_DEGRADED if not_stored else 0

        with_application(ctx, action)

    @group.command()
    def unpin(
        ctx: typer.Context,
        artifact_id: _ID,
        reason: Annotated[str, typer.Option(help="Why; kept in the audit.")] = "",
    ) -> None:
        """Let it go: from now on retention decides about it as about any other."""

        async def action(application: Application, options: Common) -> int:
            export_id = ExportId(artifact_id)
            was_pinned = await application.pins.unpin(export_id, reason=reason, actor=person())
            if options.is_json:
                print_document({"export_id": export_id, "is_pinned": False, "was_pinned": was_pinned})
            else:
                word = "is not pinned any more" if was_pinned else "was not pinned"
                console(options).print(f"artifact {export_id} {word}")
            return 0

        with_application(ctx, action)


def _not_stored(one: NotStored) -> str:
    return (
        f"not written to {one.store}: {one.reason}. There it holds as long as this database lasts. "
        "Pin it again when the store can be written."
    )

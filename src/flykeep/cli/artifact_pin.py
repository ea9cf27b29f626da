"""`flykeep artifact pin|unpin ID`: hold an artifact against retention, and let it go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.asking import person
from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.domain.errors import NotFoundError
from flykeep.domain.holds import AuditAction, AuditEntry, Pin
from flykeep.domain.ids import ExportId

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

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
            export_id, now, actor = ExportId(artifact_id), application.clock.now(), person()
            async with application.catalog.transaction() as tx:
                if not await tx.artifact(export_id):
                    raise NotFoundError(f"there is no artifact {export_id}")
                await tx.pin(Pin(export_id, reason, now, actor))
                await tx.add_audit(AuditEntry(now, actor, AuditAction.PINNED, export_id, reason))
            if options.is_json:
                print_document({"export_id": export_id, "is_pinned": True, "reason": reason, "pinned_by": actor})
            else:
                console(options).print(f"artifact {export_id} is pinned: {reason}", markup=False)
            return 0

        with_application(ctx, action)

    @group.command()
    def unpin(
        ctx: typer.Context,
        artifact_id: _ID,
        reason: Annotated[str, typer.Option(help="Why; kept in the audit.")] = "",
    ) -> None:
        """Let it go: from now on retention decides about it as about any other."""

        async def action(application: Application, options: Common) -> int:
            export_id, now, actor = ExportId(artifact_id), application.clock.now(), person()
            async with application.catalog.transaction() as tx:
                was_pinned = await tx.unpin(export_id)
                if not was_pinned and not await tx.artifact(export_id):
                    raise NotFoundError(f"there is no artifact {export_id}")
                if was_pinned:
                    await tx.add_audit(AuditEntry(now, actor, AuditAction.UNPINNED, export_id, reason))
            if options.is_json:
                print_document({"export_id": export_id, "is_pinned": False, "was_pinned": was_pinned})
            else:
                word = "is not pinned any more" if was_pinned else "was not pinned"
                console(options).print(f"artifact {export_id} {word}")
            return 0

        with_application(ctx, action)

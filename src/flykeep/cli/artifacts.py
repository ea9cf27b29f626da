"""`flykeep artifacts [TARGET]`: what is stored off the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.fates import Fates, expected_fates
from flykeep.cli.render import age_text, bytes_text, print_table
from flykeep.cli.targets import TARGET_HELP, find_lineage
from flykeep.domain.artifact import Artifact
from flykeep.domain.documents import Plain, plain

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


def register(app: typer.Typer) -> None:
    @app.command()
    def artifacts(
        ctx: typer.Context, target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help=TARGET_HELP)] = None
    ) -> None:
        """List artifacts, newest first."""

        async def action(application: Application, options: Common) -> int:
            lineage = await find_lineage(application, target, include_retired=True) if target else None
            async with application.catalog.transaction() as tx:
                found = await tx.artifacts(lineage.id if lineage else None)
            fates = await expected_fates(application, lineage.id if lineage else None)
            if options.is_json:
                print_document({"artifacts": [summary(artifact, fates) for artifact in found]})
                return 0
            now = application.clock.now()
            if not found:
                console(options).print("no artifact is known: make one with `flykeep export TARGET`")
                return 0
            rows = [
                (*_row(artifact, age_text(artifact.manifest.ended_at, now=now)), fates.text(artifact))
                for artifact in found
            ]
            columns = ("artifact", "target", "store", "made", "files", "stored", "outcome", "counts", "retention")
            print_table(console(options), *columns, rows=rows)
            return 0

        with_application(ctx, action)


def stored_bytes(artifact: Artifact) -> int:
    return artifact.stored_bytes


def summary(artifact: Artifact, fates: Fates) -> dict[str, Plain]:
    """An artifact in lists."""
    manifest = artifact.manifest
    return {
        "export_id": artifact.export_id,
        "store": artifact.store,
        "app": manifest.origin.app,
        "volume": manifest.origin.volume_name,
        "ended_at": plain(manifest.ended_at),
        "outcome": manifest.outcome.value,
        "consistency": manifest.consistency.value,
        "satisfies_rpo": artifact.satisfies_rpo,
        "files": manifest.totals.files,
        "stored_bytes": stored_bytes(artifact),
        "manifest_key": artifact.manifest_key,
        "verified_at": plain(artifact.verified_at),
        "verified_level": artifact.verified_level,
        "contents_verified_at": plain(artifact.contents_verified_at),
        "is_failed": artifact.is_failed,
        "retention": fates.document(artifact),
    }


def _row(artifact: Artifact, made: str) -> tuple[str, ...]:
    manifest = artifact.manifest
    return (
        artifact.export_id,
        f"{manifest.origin.app}/{manifest.origin.volume_name}",
        artifact.store,
        made,
        str(manifest.totals.files),
        bytes_text(stored_bytes(artifact)),
        "failed verification" if artifact.is_failed else manifest.outcome.value,
        "yes" if artifact.satisfies_rpo else "no",
    )

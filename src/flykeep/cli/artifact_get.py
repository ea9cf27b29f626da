"""`flykeep artifact get ID --path P`: files of one artifact, into a local directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.cli.context import Common, console, print_document, with_application
from flykeep.cli.identity import IdentityFile, identity_text
from flykeep.cli.one_artifact import ArtifactId, FromStore, find_artifact
from flykeep.cli.progress import ProgressView
from flykeep.cli.render import bytes_text
from flykeep.domain.documents import plain

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

_PATHS = Annotated[
    list[str],
    typer.Option("--path", help="A file or folder of the volume, or a glob; may be given several times. `.` is all."),
]
_TO = Annotated[Path, typer.Option("--to", help="The directory to restore into; it is made where it is missing.")]
_IDENTITY = Annotated[Path | None, typer.Option("--identity", help="A file with the age identity that opens the data.")]


def register(group: typer.Typer) -> None:
    @group.command()
    def get(
        ctx: typer.Context,
        artifact_id: ArtifactId,
        path: _PATHS,
        to: _TO = Path(),
        identity: IdentityFile = None,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that stand in the way.")] = False,
        store: FromStore = None,
    ) -> None:
        """Restore files here, reading no more of the artifact than they need."""

        async def action(application: Application, options: Common) -> int:
            artifact = await find_artifact(application, artifact_id, store)
            with ProgressView(console(options), f"restoring from {artifact.export_id}") as view:
                result = await application.get.get(
                    artifact,
                    paths=() if "." in path else tuple(path),
                    directory=to.absolute(),
                    is_overwriting=overwrite,
                    identity=identity_text(identity),
                    on_progress=view.progress,
                )
            if options.is_json:
                print_document(
                    {
                        "export_id": artifact.export_id,
                        "store": artifact.store,
                        "directory": str(to.absolute()),
                        "restored": plain(result),
                    }
                )
            else:
                console(options).print(
                    f"artifact {artifact.export_id}: {result.files} files, {bytes_text(result.content_bytes)} "
                    f"restored into {to.absolute()}; {bytes_text(result.read_bytes)} read from {artifact.store}"
                )
            return 0

        with_application(ctx, action)

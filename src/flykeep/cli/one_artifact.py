"""How a verb is told which artifact it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import NotFoundError
from flykeep.domain.ids import ExportId

if TYPE_CHECKING:
    from flykeep.bootstrap import Application

ArtifactId = Annotated[
    str, typer.Argument(metavar="ID", help="The export id of the artifact, as `flykeep artifacts` lists it.")
]
FromStore = Annotated[
    str | None, typer.Option("--store", help="Look at the copy in this store; without it at the first copy.")
]


async def find_artifact(application: Application, artifact_id: str, store: str | None) -> Artifact:
    """Raises NotFoundError where the catalog holds no such artifact, or none in that store."""
    async with application.catalog.transaction() as tx:
        copies = await tx.artifact(ExportId(artifact_id))
    for copy in copies:
        if store in {None, copy.store}:
            return copy
    raise NotFoundError(f"there is no artifact {artifact_id}" + (f" in store {store}" if store else ""))

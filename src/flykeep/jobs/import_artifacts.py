"""Artifacts as sources of imports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import ConfigError, NotFoundError
from flykeep.domain.ids import ExportId
from flykeep.jobs.authentic import ArtifactStores
from flykeep.ports.catalog import Catalog
from flykeep.ports.crypto import IndexKey
from flykeep.ports.importing import ArtifactSource


class ArtifactReader(Protocol):
    """Artifacts as an import needs them."""

    async def find(self, export_id: ExportId) -> Artifact:
        """A copy in a store that is configured, with its manifest's signature verified."""
        ...

    def source(self, artifact: Artifact) -> ArtifactSource: ...


@dataclass(frozen=True, slots=True)
class SignedArtifacts:
    """`ArtifactReader` over the catalog and the stores; `identity` opens data and is absent by default."""

    catalog: Catalog
    stores: ArtifactStores
    index_key: IndexKey
    identity: Callable[[], str | None]

    async def find(self, export_id: ExportId) -> Artifact:
        async with self.catalog.transaction() as tx:
            copies = await tx.artifact(export_id)
        here = [copy for copy in copies if copy.store in self.stores.stores]
        if not here:
            raise NotFoundError(f"no configured store has an artifact {export_id}", hint="See `flykeep artifacts`.")
        artifact = min(here, key=lambda copy: copy.is_failed)
        await self.stores.authentic(artifact)
        if artifact.manifest.encryption == "age" and self.identity() is None:
            raise ConfigError(
                "importing an encrypted artifact needs an age identity",
                hint="Set `identity_secret` under [encryption], or decrypt it by hand and import the tar file.",
            )
        return artifact

    def source(self, artifact: Artifact) -> ArtifactSource:
        manifest = artifact.manifest
        is_encrypted = manifest.encryption == "age"
        return ArtifactSource(
            store=self.stores.of(artifact).order,
            objects=manifest.data,
            index=manifest.index,
            identity=self.identity() if is_encrypted else None,
            index_identity=self.index_key.identity() if is_encrypted else None,
            is_encrypted=is_encrypted,
            totals=manifest.totals,
        )

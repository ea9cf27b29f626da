"""Artifacts as sources of imports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import ConfigError, IntegrityError, NotFoundError
from flykeep.domain.ids import ExportId
from flykeep.jobs.export import BoundStore
from flykeep.jobs.settle import Settler
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
    stores: Mapping[str, BoundStore]
    settler: Settler
    index_key: IndexKey
    identity: Callable[[], str | None]

    async def find(self, export_id: ExportId) -> Artifact:
        async with self.catalog.transaction() as tx:
            copies = await tx.artifact(export_id)
        here = [copy for copy in copies if copy.store in self.stores]
        if not here:
            raise NotFoundError(f"no configured store has an artifact {export_id}", hint="See `flykeep artifacts`.")
        artifact = min(here, key=lambda copy: copy.is_failed)
        signed = await self.settler.read(self.stores[artifact.store].store, artifact.manifest_key)
        if signed is None or signed.manifest != artifact.manifest:
            raise IntegrityError(
                "the stored manifest is not the one that was recorded",
                facts={"export_id": export_id, "store": artifact.store},
            )
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
            store=self.stores[artifact.store].order,
            objects=manifest.data,
            index=manifest.index,
            identity=self.identity() if is_encrypted else None,
            index_identity=self.index_key.identity() if is_encrypted else None,
            is_encrypted=is_encrypted,
            totals=manifest.totals,
        )

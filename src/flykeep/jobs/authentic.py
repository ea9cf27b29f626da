"""Opens an artifact's store only where its manifest is the signed one that the catalog remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import ConfigError, IntegrityError
from flykeep.jobs.export import BoundStore
from flykeep.jobs.settle import Settler


@dataclass(frozen=True, slots=True)
class ArtifactStores:
    """The stores that hold artifacts, and whose signatures count."""

    stores: Mapping[str, BoundStore]
    settler: Settler

    def of(self, artifact: Artifact) -> BoundStore:
        """Raises ConfigError where the artifact's store is not configured any more."""
        bound = self.stores.get(artifact.store)
        if bound is None:
            raise ConfigError(
                f"store {artifact.store!r} is not configured any more", hint="Add it again under [stores]."
            )
        return bound

    async def authentic(self, artifact: Artifact) -> BoundStore:
        """Raises IntegrityError where the stored manifest is missing, forged, or not the one that was recorded."""
        bound = self.of(artifact)
        signed = await self.settler.read(bound.store, artifact.manifest_key)
        if signed is None or signed.manifest != artifact.manifest:
            raise IntegrityError("the stored manifest is not the one that was recorded")
        return bound

"""Whether a store holds an artifact as the catalog recorded it: nothing is removed on the word of one of them alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import IntegrityError, StoreError
from flykeep.domain.ids import ExportId
from flykeep.jobs.settle import Settler
from flykeep.ports.store import Store

MISSING = "its manifest is missing in the store"


@dataclass(frozen=True, slots=True)
class Agreement:
    settler: Settler

    async def listed(self, store: Store, artifacts: Iterable[Artifact]) -> Mapping[ExportId, str]:
        """How the objects of these artifacts differ from what a listing shows; those that agree are not in it.

        One listing for each folder of a volume. Raises StoreError.
        """
        wanted = tuple(artifacts)
        sizes: dict[str, int] = {}
        for folder in {artifact.prefix.rsplit("/", 2)[0] for artifact in wanted}:
            sizes |= {found.key: found.size_bytes for found in await store.list(f"{folder}/")}
        found = {artifact.export_id: _difference(artifact, sizes) for artifact in wanted}
        return {export_id: why for export_id, why in found.items() if why is not None}

    async def mismatch(self, store: Store, artifact: Artifact) -> str | None:
        """How the manifest in the store differs from the recorded one; None where it is the same, and signed by us."""
        if not all(stored.key.startswith(f"{artifact.prefix}/") for stored in artifact.objects):
            return "its manifest names objects outside of its own folder"
        try:
            signed = await self.settler.read(store, artifact.manifest_key)
        except (StoreError, IntegrityError) as error:
            return f"its manifest can't be read: {error.message}"
        if signed is None:
            return MISSING
        return None if signed.manifest == artifact.manifest else "its manifest in the store is not the recorded one"


def _difference(artifact: Artifact, sizes: Mapping[str, int]) -> str | None:
    if artifact.manifest_key not in sizes:
        return MISSING
    for stored in artifact.objects:
        if sizes.get(stored.key) != stored.size_bytes:
            what = "is missing" if stored.key not in sizes else f"holds {sizes[stored.key]} bytes"
            return f"{stored.key.rpartition('/')[2]} {what} in the store, not {stored.size_bytes} bytes"
    return None

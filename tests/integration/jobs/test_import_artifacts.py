"""Which copy of an artifact an import takes, and what it needs for that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import ConfigError, IntegrityError, NotFoundError
from flykeep.domain.ids import ExportId
from flykeep.jobs.authentic import ArtifactStores
from flykeep.jobs.import_artifacts import SignedArtifacts
from tests.integration.jobs.parts import Parts


def reader(parts: Parts, *, identity: str | None = "AGE-SECRET-KEY-1") -> SignedArtifacts:
    stores = ArtifactStores(parts.bound, parts.settler)
    return SignedArtifacts(parts.catalog, stores, parts.keys.index_key, lambda: identity)


async def exported(parts: Parts) -> list[Artifact]:
    run = await parts.claimed()
    await parts.export.run(parts.work(run))
    async with parts.catalog.transaction() as tx:
        return list(await tx.artifacts())


async def test_the_copy_that_did_not_fail_is_taken(parts: Parts) -> None:
    copies = await exported(parts)
    async with parts.catalog.transaction() as tx:
        await tx.record_artifact(replace(copies[0], is_failed=True))

    found = await reader(parts).find(copies[0].export_id)

    assert (found.store, found.is_failed) == (copies[1].store, False)


async def test_an_artifact_nobody_knows_is_not_found(parts: Parts) -> None:
    with pytest.raises(NotFoundError, match="no configured store"):
        await reader(parts).find(ExportId("nobody"))


async def test_a_manifest_that_is_gone_is_refused(parts: Parts) -> None:
    copies = await exported(parts)
    for copy in copies:
        await parts.stores[copy.store].delete(copy.manifest_key)

    with pytest.raises(IntegrityError):
        await reader(parts).find(copies[0].export_id)


async def test_encrypted_data_needs_an_identity(parts: Parts) -> None:
    parts.recipients = ("age1someone",)
    (first, *_) = await exported(parts)

    with pytest.raises(ConfigError, match="identity"):
        await reader(parts, identity=None).find(first.export_id)
    source = reader(parts).source(await reader(parts).find(first.export_id))

    assert (source.is_encrypted, source.identity) == (True, "AGE-SECRET-KEY-1")
    assert source.objects == first.manifest.data
    assert "AGE-SECRET" not in repr(source)


async def test_plain_data_is_opened_without_keys(parts: Parts) -> None:
    parts.recipients = ()
    (first, *_) = await exported(parts)

    source = reader(parts).source(await reader(parts, identity=None).find(first.export_id))

    assert (source.is_encrypted, source.identity, source.index_identity) == (False, None, None)

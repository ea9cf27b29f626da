"""Verifying artifacts: what is read, what is refused, and what the catalog remembers of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import ConfigError, IntegrityError, StoreUnavailableError
from tests.integration.jobs.parts import Parts


@pytest.fixture
async def artifact(parts: Parts) -> Artifact:
    await parts.export.run(parts.work(await parts.claimed()))
    return await remembered(parts)


async def remembered(parts: Parts) -> Artifact:
    async with parts.catalog.transaction() as tx:
        return next(one for one in await tx.artifacts() if one.store == "offsite")


@pytest.mark.parametrize("level", ["manifest", "bytes"])
async def test_a_good_artifact_is_remembered_with_the_level_it_was_verified_at(
    parts: Parts, artifact: Artifact, level: str
) -> None:
    assert (await parts.verify.verify(artifact, level=level)).level == level
    found = await remembered(parts)
    assert (found.verified_level, found.is_failed) == (level, False)
    assert found.verified_at == parts.clock.now()


async def test_contents_need_an_identity_and_bytes_never_carry_one(parts: Parts, artifact: Artifact) -> None:
    with pytest.raises(ConfigError, match="needs an age identity"):
        await parts.verify.verify(artifact, level="contents")
    parts.identity = "AGE-SECRET-KEY-1"
    await parts.verify.verify(artifact, level="bytes")
    await parts.verify.verify(artifact, level="contents")
    assert [order.identity for order in parts.workers.orders[2:]] == [None, "AGE-SECRET-KEY-1"]
    assert (await remembered(parts)).verified_level == "contents"


async def test_an_artifact_in_the_clear_needs_no_keys(parts: Parts) -> None:
    parts.recipients = ()
    await parts.export.run(parts.work(await parts.claimed()))
    await parts.verify.verify(await remembered(parts), level="contents")
    order = parts.workers.orders[-1]
    assert (order.identity, order.index_identity, order.is_encrypted) == (None, None, False)


async def test_damage_is_remembered_and_names_the_artifact(parts: Parts, artifact: Artifact) -> None:
    parts.workers.errors = [IntegrityError("a digest differs")]
    with pytest.raises(IntegrityError) as refused:
        await parts.verify.verify(artifact, level="bytes")
    assert refused.value.facts["export_id"] == artifact.export_id
    assert not (await remembered(parts)).satisfies_rpo


async def test_a_missing_object_is_damage(parts: Parts, artifact: Artifact) -> None:
    await parts.stores["offsite"].delete(artifact.manifest.index.key)
    with pytest.raises(IntegrityError, match="an object of the artifact is missing"):
        await parts.verify.verify(artifact, level="manifest")
    assert (await remembered(parts)).is_failed


async def test_an_object_of_another_size_is_damage(parts: Parts, artifact: Artifact) -> None:
    await parts.stores["offsite"].put(artifact.manifest.data[0].key, b"longer than it was")
    with pytest.raises(IntegrityError, match="holds 18 bytes, not 4"):
        await parts.verify.verify(artifact, level="manifest")


async def test_a_missing_or_another_manifest_is_damage(parts: Parts, artifact: Artifact) -> None:
    other = replace(artifact, manifest=replace(artifact.manifest, policy="another"))
    with pytest.raises(IntegrityError, match="not the one that was recorded"):
        await parts.verify.verify(other, level="manifest")
    await parts.stores["offsite"].delete(artifact.manifest_key)
    with pytest.raises(IntegrityError, match="not the one that was recorded"):
        await parts.verify.verify(artifact, level="manifest")


async def test_a_store_that_does_not_answer_is_no_damage(parts: Parts, artifact: Artifact) -> None:
    parts.stores["offsite"].fail_with(StoreUnavailableError("not now"))
    with pytest.raises(StoreUnavailableError):
        await parts.verify.verify(artifact, level="manifest")
    assert not (await remembered(parts)).is_failed


async def test_a_store_that_is_not_configured_any_more_is_said(parts: Parts, artifact: Artifact) -> None:
    del parts.stores["offsite"]
    with pytest.raises(ConfigError, match="'offsite' is not configured any more"):
        await parts.verify.verify(artifact, level="manifest")


async def test_the_files_of_an_artifact_come_from_its_index(parts: Parts, artifact: Artifact) -> None:
    async with parts.verify.entries(artifact, contains="crocbot") as entries:
        assert [entry async for entry in entries] == []
    order = parts.workers.orders[-1]
    assert (order.index, order.contains, order.identity) == (
        artifact.manifest.index,
        "crocbot",
        parts.keys.index_key.identity(),
    )


async def test_a_verification_does_not_bring_back_what_was_removed_meanwhile(parts: Parts, artifact: Artifact) -> None:
    async with parts.catalog.transaction() as tx:
        await tx.forget_artifact(artifact.export_id, artifact.store)

    await parts.verify.verify(artifact, level="bytes")

    async with parts.catalog.transaction() as tx:
        assert [one.store for one in await tx.artifact(artifact.export_id)] == ["shelf"]

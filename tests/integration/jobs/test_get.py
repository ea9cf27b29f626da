"""Files of an artifact: which keys travel, and that only what this flykeep signed is opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import ConfigError, IntegrityError
from flykeep.ports.worker import ExtractResult, Progress
from tests.integration.jobs.parts import Parts


@pytest.fixture
async def artifact(parts: Parts) -> Artifact:
    return await exported(parts)


async def exported(parts: Parts) -> Artifact:
    await parts.export.run(parts.work(await parts.claimed()))
    async with parts.catalog.transaction() as tx:
        return next(one for one in await tx.artifacts() if one.store == "offsite")


async def got(parts: Parts, artifact: Artifact, **changes: Any) -> tuple[ExtractResult, list[Progress]]:
    seen: list[Progress] = []
    asked: dict[str, Any] = {
        "paths": ("agents",),
        "directory": Path("/out"),
        "is_overwriting": False,
        "identity": None,
        "on_progress": seen.append,
    }
    return await parts.get.get(artifact, **(asked | changes)), seen


async def test_the_keys_go_to_the_worker_with_what_the_manifest_says(parts: Parts, artifact: Artifact) -> None:
    parts.identity = "AGE-SECRET-KEY-1CONFIGURED"
    result, seen = await got(parts, artifact, is_overwriting=True)
    order = parts.workers.orders[-1]
    assert (result.files, [progress.phase for progress in seen]) == (1, ["restoring files"])
    assert (order.objects, order.index, order.totals) == (
        artifact.manifest.data,
        artifact.manifest.index,
        artifact.manifest.totals,
    )
    assert (order.paths, order.directory, order.is_overwriting) == (("agents",), "/out", True)
    assert order.identity == "AGE-SECRET-KEY-1CONFIGURED"
    assert order.index_identity.splitlines() == [parts.keys.index_key.identity(), "AGE-SECRET-KEY-1CONFIGURED"]


async def test_an_identity_that_is_named_outranks_the_configured_one(parts: Parts, artifact: Artifact) -> None:
    parts.identity = "AGE-SECRET-KEY-1CONFIGURED"
    await got(parts, artifact, identity="AGE-SECRET-KEY-1NAMED")
    assert parts.workers.orders[-1].identity == "AGE-SECRET-KEY-1NAMED"


async def test_without_an_identity_nothing_encrypted_is_opened(parts: Parts, artifact: Artifact) -> None:
    with pytest.raises(ConfigError, match="needs an age identity"):
        await got(parts, artifact)


async def test_an_artifact_in_the_clear_needs_none(parts: Parts) -> None:
    parts.recipients = ()
    await got(parts, await exported(parts))
    order = parts.workers.orders[-1]
    assert (order.identity, order.index_identity, order.is_encrypted) == (None, None, False)


async def test_an_artifact_whose_manifest_is_another_now_is_not_opened(parts: Parts, artifact: Artifact) -> None:
    parts.identity = "AGE-SECRET-KEY-1"
    other = replace(artifact, manifest=replace(artifact.manifest, policy="another"))
    with pytest.raises(IntegrityError, match="not the one that was recorded"):
        await got(parts, other)
    del parts.stores["offsite"]
    with pytest.raises(ConfigError, match="not configured any more"):
        await got(parts, artifact)

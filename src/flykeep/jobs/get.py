"""Restore files of one artifact into a local directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flykeep.domain.artifact import Artifact
from flykeep.domain.errors import ConfigError
from flykeep.jobs.authentic import ArtifactStores
from flykeep.ports.crypto import IndexKey
from flykeep.ports.worker import ExtractOrder, ExtractResult, Progress, Workers


@dataclass(frozen=True, slots=True)
class GetJob:
    """`identity` is the configured one that opens data, absent by default."""

    workers: Workers
    artifacts: ArtifactStores
    index_key: IndexKey
    identity: Callable[[], str | None]
    deadline: timedelta

    async def get(
        self,
        artifact: Artifact,
        *,
        paths: tuple[str, ...],
        directory: Path,
        is_overwriting: bool,
        identity: str | None,
        on_progress: Callable[[Progress], None],
    ) -> ExtractResult:
        """`identity` is the text of an identity file; without it the configured identity opens the data.

        Raises ConfigError where no identity is at hand, and what `Workers.extract` says; the catalog is not changed.
        """
        bound = await self.artifacts.authentic(artifact)
        manifest = artifact.manifest
        is_encrypted = manifest.encryption == "age"
        opens = (identity or self.identity()) if is_encrypted else None
        if is_encrypted and opens is None:
            raise ConfigError(
                "opening contents needs an age identity",
                hint="Name its file with --identity, or set `identity_secret` under [encryption].",
            )
        order = ExtractOrder(
            export_id=artifact.export_id,
            store=bound.order,
            objects=manifest.data,
            index=manifest.index,
            identity=opens,
            index_identity=f"{self.index_key.identity()}\n{opens}" if is_encrypted else None,
            is_encrypted=is_encrypted,
            totals=manifest.totals,
            paths=paths,
            directory=str(directory),
            is_overwriting=is_overwriting,
            deadline_s=self.deadline.total_seconds(),
        )
        return await self.workers.extract(order, on_progress=on_progress)

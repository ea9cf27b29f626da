"""Prove that an artifact is what was written, and look into its index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from flykeep.domain.artifact import Artifact, IndexEntry
from flykeep.domain.errors import ConfigError, IntegrityError, StoreNotFoundError
from flykeep.domain.ids import ExportId
from flykeep.domain.verification import Level, after_failure, after_success
from flykeep.jobs.authentic import ArtifactStores
from flykeep.jobs.export import BoundStore
from flykeep.jobs.settle import Settler
from flykeep.ports.catalog import Catalog, Transaction
from flykeep.ports.clock import Clock
from flykeep.ports.crypto import IndexKey
from flykeep.ports.worker import IndexOrder, Progress, VerifyOrder, VerifyResult, Workers


def _always(_identity: str, _recipients: tuple[str, ...]) -> bool:
    return True


def _ignore(_: Progress) -> None:
    return None


@dataclass(frozen=True, slots=True)
class VerifyJob:
    """`identity` opens data; absent by default, so that the daemon can never read what it keeps.

    `can_open` says whether an identity is for one of these recipients: a wrong key is no damage.
    """

    workers: Workers
    stores: Mapping[str, BoundStore]
    catalog: Catalog
    clock: Clock
    settler: Settler
    index_key: IndexKey
    identity: Callable[[], str | None]
    deadline: timedelta
    can_open: Callable[[str, tuple[str, ...]], bool] = _always

    def deepest(self, artifact: Artifact) -> Level:
        """What can be verified of it with the keys at hand."""
        manifest, identity = artifact.manifest, self.identity()
        is_open = manifest.encryption != "age" or (
            identity is not None and self.can_open(identity, manifest.recipients)
        )
        return Level.CONTENTS if is_open else Level.BYTES

    async def verify(
        self, artifact: Artifact, *, level: str, on_progress: Callable[[Progress], None] = _ignore
    ) -> VerifyResult:
        """Raises an IntegrityError for anything that is not as it was written; the catalog remembers either way."""
        try:
            result = await self._verify(artifact, level, on_progress)
        except (IntegrityError, StoreNotFoundError) as error:
            await self._remember(after_failure(artifact, Level(level), now=self.clock.now()), reason=error.message)
            if isinstance(error, StoreNotFoundError):
                raise IntegrityError(
                    "an object of the artifact is missing", facts={"export_id": artifact.export_id, **error.facts}
                ) from error
            raise error.with_facts(export_id=artifact.export_id, store=artifact.store) from error
        await self._remember(after_success(artifact, Level(level), now=self.clock.now()))
        return result

    async def _verify(self, artifact: Artifact, level: str, on_progress: Callable[[Progress], None]) -> VerifyResult:
        bound = await self._artifacts.authentic(artifact)
        if level == "manifest":
            return await self._compare_sizes(artifact, bound)
        return await self.workers.verify(self._order(artifact, bound, level), on_progress=on_progress)

    async def _compare_sizes(self, artifact: Artifact, bound: BoundStore) -> VerifyResult:
        for stored in (*artifact.manifest.data, artifact.manifest.index):
            found = await bound.store.head(stored.key)
            if found.size_bytes != stored.size_bytes:
                raise IntegrityError(
                    f"an object holds {found.size_bytes} bytes, not {stored.size_bytes}", facts={"key": stored.key}
                )
        return VerifyResult("manifest", 0, 0)

    def _order(self, artifact: Artifact, bound: BoundStore, level: str) -> VerifyOrder:
        identity = self.identity()
        is_encrypted = artifact.manifest.encryption == "age"
        if level == "contents" and is_encrypted and identity is None:
            raise ConfigError(
                "opening contents needs an age identity",
                hint="Set `identity_secret` under [encryption], or verify with --level bytes.",
            )
        if level == "contents" and is_encrypted and self.deepest(artifact) is not Level.CONTENTS:
            raise ConfigError(
                "the configured age identity is for none of this artifact's recipients",
                hint="`flykeep artifact show ID` names them; verify with --level bytes without their keys.",
            )
        depth: Literal["bytes", "contents"] = "contents" if level == "contents" else "bytes"
        return VerifyOrder(
            store=bound.order,
            objects=artifact.manifest.data,
            index=artifact.manifest.index,
            level=depth,
            identity=identity if depth == "contents" else None,
            index_identity=self._index_identity(identity) if is_encrypted and depth == "contents" else None,
            is_encrypted=is_encrypted,
            totals=artifact.manifest.totals,
            deadline_s=self.deadline.total_seconds(),
        )

    def entries(
        self, artifact: Artifact, *, contains: str | None
    ) -> AbstractAsyncContextManager[AsyncIterator[IndexEntry]]:
        """The artifact's files from its index, in archive order; data is not read."""
        is_encrypted = artifact.manifest.encryption == "age"
        return self.workers.index(
            IndexOrder(
                store=self._artifacts.of(artifact).order,
                index=artifact.manifest.index,
                identity=self._index_identity(self.identity()) if is_encrypted else None,
                is_encrypted=is_encrypted,
                contains=contains,
                deadline_s=self.deadline.total_seconds(),
            )
        )

    @property
    def _artifacts(self) -> ArtifactStores:
        return ArtifactStores(self.stores, self.settler)

    def _index_identity(self, identity: str | None) -> str:
        """The daemon's own key; beside it the operator's, for indexes that an earlier daemon's key was to open."""
        return "\n".join(key for key in (self.index_key.identity(), identity) if key)

    async def _remember(self, artifact: Artifact, *, reason: str | None = None) -> None:
        async with self.catalog.transaction() as tx:
            if all(copy.store != artifact.store for copy in await tx.artifact(artifact.export_id)):
                return  # it was removed meanwhile: recorded again it would be an artifact that does not exist
            await tx.record_artifact(artifact)
            if reason is not None:
                await tx.save_note(_note(artifact), reason)


async def failure_reasons(tx: Transaction, artifacts: Iterable[Artifact]) -> dict[tuple[ExportId, str], str]:
    """Why the failed ones among them failed, as far as it was noted."""
    failed = [artifact for artifact in artifacts if artifact.is_failed]
    reasons = {(artifact.export_id, artifact.store): await tx.note(_note(artifact)) for artifact in failed}
    return {key: reason for key, reason in reasons.items() if reason is not None}


def _note(artifact: Artifact) -> str:
    return f"verification_failed:{artifact.store}:{artifact.export_id}"

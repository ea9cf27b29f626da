"""Verifications: what a result says of an artifact, which artifacts are looked at next, and what is overdue."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from flykeep.domain.artifact import Artifact
from flykeep.domain.ids import LineageId


class Level(StrEnum):
    """What a verification promises: signature and sizes; every stored byte; every file."""

    MANIFEST = "manifest"
    BYTES = "bytes"
    CONTENTS = "contents"

    @property
    def depth(self) -> int:
        return list(Level).index(self)


def after_success(artifact: Artifact, level: Level, *, now: datetime) -> Artifact:
    """The artifact as it is known now. What failed deeper still counts as failed: this look did not reach there."""
    if artifact.is_failed and level.depth < Level(artifact.verified_level or Level.BYTES).depth:
        return artifact
    opened_at = now if level is Level.CONTENTS else artifact.contents_verified_at
    return replace(
        artifact, verified_at=now, verified_level=level.value, contents_verified_at=opened_at, is_failed=False
    )


def after_failure(artifact: Artifact, level: Level, *, now: datetime) -> Artifact:
    """It counts as no backup until a verification at least as deep succeeds."""
    failed = Level(artifact.verified_level) if artifact.is_failed and artifact.verified_level else level
    deepest = max(level, failed, key=lambda each: each.depth)
    return replace(artifact, verified_at=now, verified_level=deepest.value, contents_verified_at=None, is_failed=True)


def never_opened(artifacts: Iterable[Artifact], *, proven: Collection[LineageId]) -> frozenset[LineageId]:
    """The lineages with encrypted artifacts that nobody looked into; `proven` are those of which one was drilled."""
    encrypted = [one for one in artifacts if one.manifest.encryption == "age"]
    opened = {one.manifest.origin.lineage_id for one in encrypted if one.contents_verified_at}
    return frozenset(one.manifest.origin.lineage_id for one in encrypted) - opened - frozenset(proven)


def stored_bytes(artifact: Artifact) -> int:
    """What its data and index take in the store."""
    manifest = artifact.manifest
    return manifest.index.size_bytes + sum(part.size_bytes for part in manifest.data)


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """Whose turn it is, in this order, and how many more there are; `left_out` are of stores not configured now."""

    chosen: tuple[Artifact, ...]
    waiting: int
    left_out: int


def plan_sample(artifacts: Iterable[Artifact], *, stores: Iterable[str], budget_bytes: int) -> SamplePlan:
    """Those that were never verified, then those verified longest ago, while the budget lasts; one in any case.

    What is about to be removed is passed over.
    """
    known = frozenset(stores)
    present = [artifact for artifact in artifacts if artifact.leaving_at is None]
    ranked = sorted((one for one in present if one.store in known), key=_turn)
    chosen: list[Artifact] = []
    left_bytes = budget_bytes
    for artifact in ranked:
        if chosen and stored_bytes(artifact) > left_bytes:
            break
        chosen.append(artifact)
        left_bytes -= stored_bytes(artifact)
    return SamplePlan(tuple(chosen), len(ranked) - len(chosen), len(present) - len(ranked))


def last_seen_whole_at(artifact: Artifact) -> datetime:
    """When it was verified last; before that, when it was read back and recorded."""
    return artifact.verified_at or artifact.recorded_at


def _turn(artifact: Artifact) -> tuple[bool, datetime, str, str]:
    return (artifact.verified_at is not None, last_seen_whole_at(artifact), artifact.export_id, artifact.store)

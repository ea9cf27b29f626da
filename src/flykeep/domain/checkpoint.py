"""A checkpoint before a deploy or a migration: what it takes, and whether that is enough to go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flykeep.domain.artifact import Artifact, ArtifactOutcome
from flykeep.domain.errors import FlykeepError, RefusalError
from flykeep.domain.ids import ExportId, SnapshotId, VolumeId
from flykeep.domain.policy import TargetRule


@dataclass(frozen=True, slots=True)
class VerifiedCopy:
    """A copy in one store, and how deep it was read back."""

    store: str
    level: str


@dataclass(frozen=True, slots=True)
class CheckpointResult:
    """`is_go` answers the one question; `doubts` say why not, or what was accepted. `way_back` is a command."""

    is_go: bool
    volume_id: VolumeId
    snapshot_id: SnapshotId | None
    snapshot_at: datetime | None
    export_id: ExportId | None
    verified: tuple[VerifiedCopy, ...]
    doubts: tuple[str, ...]
    way_back: str


def refuse_without_store(rule: TargetRule) -> None:
    """Raises RefusalError, before anything is taken, where an export has nowhere to go."""
    if not rule.policy.copies:
        raise RefusalError(
            f"policy {rule.policy.name!r} names no store, so a checkpoint could keep nothing off the platform",
            hint=f"Add [[policies.{rule.policy.name}.copies]], or do without with --skip-export.",
        )


def doubts_about(copies: Sequence[Artifact]) -> tuple[str, ...]:
    """Why what was exported is less than a whole backup."""
    found: dict[str, None] = {}
    for copy in copies:
        manifest = copy.manifest
        if manifest.outcome is ArtifactOutcome.DEGRADED:
            names = ", ".join(changed.path for changed in manifest.changed[:3])
            count = len(manifest.changed)
            what = "1 file" if count == 1 else f"{count} files"
            found[f"degraded: {what} changed or vanished while it was read ({names})"] = None
        if manifest.why_not_restorable is not None:
            found[f"it never counts as a backup: {manifest.why_not_restorable}"] = None
    return tuple(found)


def failure_text(what: str, error: FlykeepError) -> str:
    """A step that failed, in one line."""
    return f"the {what} failed: {error.message}"


def way_back(label: str, snapshot_id: SnapshotId | None) -> str:
    """How a person gets back to this checkpoint."""
    return f"flykeep restore {label} --snapshot {snapshot_id}"

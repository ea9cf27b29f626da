"""How an export is told: what was stored where, and whether it counts as a backup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flykeep.domain.artifact import Artifact, ArtifactOutcome, ChangedFile, Consistency
from flykeep.domain.documents import to_json
from flykeep.domain.ids import ExportId
from flykeep.domain.run import Outcome, RunState


@dataclass(frozen=True, slots=True)
class Copy:
    store: str
    manifest_key: str
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class ExportJobResult:
    """`why_not_restorable` None means that it satisfies the RPO."""

    export_id: ExportId
    outcome: ArtifactOutcome
    consistency: Consistency
    satisfies_rpo: bool
    copies: tuple[Copy, ...]
    files: int
    tar_bytes: int
    changed: tuple[ChangedFile, ...]
    skipped: tuple[str, ...]
    open_databases: tuple[str, ...]
    why_not_restorable: str | None


def outcome_of(copies: Sequence[Artifact]) -> Outcome:
    """The run's outcome; `copies` are its artifacts in all stores, at least one."""
    first = copies[0].manifest
    result = ExportJobResult(
        export_id=first.export_id,
        outcome=first.outcome,
        consistency=first.consistency,
        satisfies_rpo=all(copy.satisfies_rpo for copy in copies),
        copies=tuple(_copy(copy) for copy in copies),
        files=first.totals.files,
        tar_bytes=first.totals.tar_bytes,
        changed=first.changed,
        skipped=first.skipped,
        open_databases=first.open_databases,
        why_not_restorable=first.why_not_restorable,
    )
    # An artifact that never counts as a backup is not plainly "done": the exit code must say so too.
    is_degraded = any(copy.manifest.outcome is ArtifactOutcome.DEGRADED or not copy.satisfies_rpo for copy in copies)
    return Outcome(RunState.DEGRADED if is_degraded else RunState.SUCCEEDED, to_json(result))


def _copy(artifact: Artifact) -> Copy:
    stored_bytes = sum(part.size_bytes for part in artifact.manifest.data)
    return Copy(artifact.store, artifact.manifest_key, stored_bytes)

"""What an import tells when it is over."""

from __future__ import annotations

from dataclasses import dataclass

from flykeep.domain.documents import to_json
from flykeep.domain.ids import RunId
from flykeep.domain.imports import ImportPhase
from flykeep.domain.run import Outcome, RunState
from flykeep.jobs.health import Condition
from flykeep.ports.importing import ImportResult


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What an import did; `import_id` is what `import confirm` and `import undo` take."""

    import_id: RunId
    source: str
    phase: ImportPhase
    files: int
    entries: int
    content_bytes: int
    left_out: int
    health: str
    detail: str


def outcome_of(
    run_id: RunId, source: str, phase: ImportPhase, condition: Condition | None, result: ImportResult | None
) -> Outcome:
    """Done, and degraded where the application is not well afterwards."""
    is_good = condition is None or condition.health.is_good
    document = ImportOutcome(
        import_id=run_id,
        source=source,
        phase=phase,
        files=result.files if result else 0,
        entries=result.entries if result else 0,
        content_bytes=result.content_bytes if result else 0,
        left_out=result.left_out if result else 0,
        health=condition.health.value if condition else "",
        detail=condition.detail if condition else "",
    )
    return Outcome(RunState.SUCCEEDED if is_good else RunState.DEGRADED, to_json(document))

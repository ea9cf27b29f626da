"""What retention will do next with the artifacts that are listed, from the catalog alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from flykeep.cli.render import instant_text
from flykeep.domain.artifact import Artifact
from flykeep.domain.cadence import next_occurrence
from flykeep.domain.documents import Plain, plain
from flykeep.domain.ids import LineageId
from flykeep.domain.retention import Decision, Fate

if TYPE_CHECKING:
    from flykeep.bootstrap import Application


@dataclass(frozen=True, slots=True)
class Fates:
    """`next_at` is when retention runs next by itself."""

    decisions: Mapping[tuple[str, str], Decision]
    next_at: datetime | None

    def text(self, artifact: Artifact) -> str:
        decision = self._of(artifact)
        if decision is None:
            return ""
        if decision.fate is Fate.REMOVE:
            return f"goes at {instant_text(self.next_at)}" if self.next_at else "goes with the next prune"
        word = "kept" if decision.fate is Fate.KEEP else "held back"
        return f"{word}: {decision.reasons[0]}"

    def document(self, artifact: Artifact) -> Plain:
        decision = self._of(artifact)
        if decision is None:
            return None
        removed_at = self.next_at if decision.fate is Fate.REMOVE else None
        return {"fate": decision.fate.value, "reasons": list(decision.reasons), "removed_at": plain(removed_at)}

    def _of(self, artifact: Artifact) -> Decision | None:
        return self.decisions.get((artifact.export_id, artifact.store))


async def expected_fates(application: Application, lineage_id: LineageId | None) -> Fates:
    """No store is asked: a removal is confirmed there before it begins."""
    copies = await application.prune.planner.expected(lineage_id)
    schedule = application.settings.retention.schedule
    return Fates(
        {(decision.artifact.export_id, copy.store): decision for copy in copies for decision in copy.plan.decisions},
        next_occurrence(schedule, after=application.clock.now()) if schedule else None,
    )

"""The worked example on the page about retention is what the code decides."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from flykeep.domain.artifact import ArtifactOutcome
from flykeep.domain.policy import KeepRule
from flykeep.domain.retention import Candidate, plan_retention
from tests.unit.domain.builders import DAY, NOW, artifact

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "what-retention-keeps.md"
RULE = re.compile(r"^keep = \{ (.+) \}$", re.MULTILINE)
ROW = re.compile(r"^\| (\d{4}-\d\d-\d\d \d\d:\d\d) \| (.+?) \| (\w+) \| (.+) \|$", re.MULTILINE)


def candidate(at: datetime, state: str) -> Candidate:
    one = artifact(f"{at:%Y%m%d}", age=NOW - at, is_failed="failed" in state)
    outcome = ArtifactOutcome.DEGRADED if "degraded" in state else ArtifactOutcome.COMPLETE
    manifest = replace(one.manifest, is_partial="partial" in state, outcome=outcome)
    verified_at = at + DAY if "verified" in state.split(", ") else None
    pin = state.partition("pinned: ")[2] or None
    return Candidate(replace(one, manifest=manifest, verified_at=verified_at), pin)


def test_the_worked_example_is_what_the_code_decides() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (written,) = RULE.findall(text)
    keep = KeepRule(**{name: int(count) for name, count in re.findall(r"(\w+) = (\d+)", written)})
    rows = [
        (datetime.strptime(at, "%Y-%m-%d %H:%M").replace(tzinfo=UTC), state, fate, why)
        for at, state, fate, why in ROW.findall(text)
    ]
    assert len(rows) > 8

    plan = plan_retention(
        [candidate(at, state) for at, state, _, _ in rows],
        keep,
        timezone="Europe/Vienna",
        max_delete_share=0.5,
        now=datetime(2026, 11, 25, tzinfo=UTC),
    )

    decided = {one.artifact.manifest.started_at: (one.fate.value, "; ".join(one.reasons)) for one in plan.decisions}
    assert decided == {at: (fate, why) for at, _, fate, why in rows}

"""Which backup a lost volume comes back from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flykeep.domain.candidates import Candidate, CandidateKind
from flykeep.domain.ids import VolumeId
from flykeep.domain.recover_plan import newest_source
from tests.unit.domain.builders import DAY, NOW


def artifact(id: str, age: timedelta, **changes: Any) -> Candidate:  # noqa: A002
    at = NOW - age
    return Candidate(CandidateKind.ARTIFACT, id, at, at, VolumeId("vol_1"), ("offsite",), 1, 1, **changes)


def test_an_artifact_of_the_paths_its_target_exports_is_a_backup_like_any_other() -> None:
    ours = artifact("new", DAY, paths=("agents/**",))
    assert newest_source([artifact("old", 300 * DAY), ours]) == ours


def test_one_of_other_paths_is_taken_where_nothing_else_is_left() -> None:
    asked = artifact("asked", DAY, paths=("logs/**",), doubt="a person asked for some of the target's paths only")
    whole = artifact("whole", 9 * DAY)
    assert newest_source([asked, whole]) == whole
    assert newest_source([asked]) == asked
    assert newest_source([artifact("gone", DAY, why_not="its objects are gone")]) is None

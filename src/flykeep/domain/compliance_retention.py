"""Whether retention does its work: where nothing is ever removed, a store fills up and nobody is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flykeep.domain.cadence import longest_gap
from flykeep.domain.findings import Finding, FindingCode, Severity, Subject
from flykeep.domain.policy import Schedule
from flykeep.domain.prune import locked_words
from flykeep.domain.run import Run, RunState
from flykeep.domain.wording import span

_DID_RUN = frozenset({RunState.SUCCEEDED, RunState.DEGRADED, RunState.REFUSED})
_MISSED_SLOTS = 2
_GRACE = timedelta(hours=1)
_NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class RetentionFacts:
    """`runs` are the ended ones of retention, newest first; `schedule` None means that people run it by hand only.

    `waiting_since` is when a check first met an artifact, where it has never run.
    """

    schedule: Schedule | None
    runs: tuple[Run, ...]
    waiting_since: datetime | None


def retention_findings(subject: Subject, facts: RetentionFacts, *, now: datetime) -> tuple[Finding, ...]:
    """Retention that has not run for two of its slots, and what its newest run left undone for each copy."""
    found = (_not_run(subject, facts, now=now), _refused(subject, facts.runs))
    return tuple(finding for finding in found if finding is not None)


def _not_run(subject: Subject, facts: RetentionFacts, *, now: datetime) -> Finding | None:
    if facts.schedule is None:
        return None
    whole = (run for run in facts.runs if run.request.lineage_id is None and run.state in _DID_RUN)
    ran_at = next((run.ended_at for run in whole), None)
    since_at = ran_at or facts.waiting_since
    if since_at is None:
        return None
    due_at = since_at + longest_gap(facts.schedule) * _MISSED_SLOTS + _GRACE
    if now <= due_at:
        return None
    last = f"last ran {span(now - ran_at)} ago" if ran_at else "has never run"
    return Finding(
        code=FindingCode.RETENTION_NOT_RUN,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"Retention {last}: nothing is removed from the stores.",
        since_at=due_at,
        last_good_at=ran_at,
        next_step="flykeep runs; then flykeep prune --apply",
    )


def _refused(subject: Subject, runs: Sequence[Run]) -> Finding | None:
    latest: dict[tuple[str, str], _Held] = {}
    for run in runs:
        for held in _copies(run):
            latest.setdefault(held.key, held)
    found = [held for held in latest.values() if held.problems]
    if not found:
        return None
    more = f", and {len(found) - _NAMED_AT_MOST} more" if len(found) > _NAMED_AT_MOST else ""
    return Finding(
        code=FindingCode.RETENTION_REFUSED,
        severity=Severity.WARNING,
        subject=subject,
        summary=f"Retention holds back: {', '.join(held.words for held in found[:_NAMED_AT_MOST])}{more}.",
        since_at=min(held.at for held in found),
        last_good_at=None,
        next_step="flykeep prune",
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """What one run said of one copy."""

    key: tuple[str, str]
    target: str
    problems: tuple[str, ...]
    at: datetime

    @property
    def words(self) -> str:
        return f"{self.target} in {self.key[1]} ({'; '.join(self.problems)})"


def _copies(run: Run) -> list[_Held]:
    result = json.loads(run.outcome.result_json) if run.outcome and run.state in _DID_RUN else {}
    return [
        _Held(
            key=(copy["lineage_id"], copy["store"]),
            target=copy["target"],
            problems=(*copy["problems"], *map(locked_words, copy.get("locked", ())), *copy.get("held", ())),
            at=run.ended_at or run.requested_at,
        )
        for copy in result.get("copies", [])
    ]

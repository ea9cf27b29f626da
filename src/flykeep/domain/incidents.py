"""From findings to what people are told: opened once, reminded at an interval, resolved once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from flykeep.domain.findings import Finding, Incident, Severity
from flykeep.domain.ids import IncidentId

_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}


class ChangeKind(StrEnum):
    OPENED = "opened"
    REMINDED = "reminded"
    RESOLVED = "resolved"
    UPDATED = "updated"  # to be saved, nobody is told


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """One incident as it has to be saved, and whether people are told; `is_escalated` says that it became worse."""

    kind: ChangeKind
    incident: Incident
    is_escalated: bool = False

    @property
    def is_told(self) -> bool:
        return self.kind is not ChangeKind.UPDATED


def transition(
    open_incidents: Iterable[Incident],
    findings: Iterable[Finding],
    *,
    is_conclusive: Callable[[Finding], bool],
    now: datetime,
    remind_every: Callable[[Finding], timedelta | None],
    new_id: Callable[[], str],
) -> tuple[IncidentChange, ...]:
    """What has to change so that the open incidents tell what was found; nothing changes where nothing has to.

    An incident whose finding is absent is resolved only where `is_conclusive` says that its subject was judged; else it
    stands in silence. `remind_every` None never reminds. Findings of severity info open nothing.
    """
    found = _by_key(findings)
    standing = {incident.finding.key: incident for incident in open_incidents if incident.is_open}
    changes = [
        IncidentChange(ChangeKind.OPENED, _opened(finding, now=now, new_id=new_id))
        for key, finding in found.items()
        if key not in standing
    ]
    for key, incident in standing.items():
        finding = found.get(key)
        if finding is not None:
            change = _continued(incident, finding, now=now, every=remind_every(finding))
        else:
            change = _absent(incident, is_conclusive=is_conclusive(incident.finding), now=now)
        if change is not None:
            changes.append(change)
    return tuple(changes)


def _by_key(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Findings worth an incident, the worst one of each key."""
    found: dict[str, Finding] = {}
    for finding in findings:
        known = found.get(finding.key)
        if finding.severity.is_unhealthy and (known is None or _RANK[finding.severity] > _RANK[known.severity]):
            found[finding.key] = finding
    return found


def _opened(finding: Finding, *, now: datetime, new_id: Callable[[], str]) -> Incident:
    return Incident(IncidentId(new_id()), finding, opened_at=now, last_notified_at=now)


def _continued(
    incident: Incident, finding: Finding, *, now: datetime, every: timedelta | None
) -> IncidentChange | None:
    # A fact whose beginning nobody can see (a setting, a state) is dated by the check that first met it.
    finding = replace(finding, since_at=min(finding.since_at, incident.finding.since_at))
    is_escalated = _RANK[finding.severity] > _RANK[incident.finding.severity]
    updated = replace(incident, finding=finding)
    if _is_due(incident, now=now, every=every, is_escalated=is_escalated):
        reminded = replace(updated, last_notified_at=now, reminder_count=incident.reminder_count + 1)
        return IncidentChange(ChangeKind.REMINDED, reminded, is_escalated=is_escalated)
    return IncidentChange(ChangeKind.UPDATED, updated) if updated != incident else None


def _is_due(incident: Incident, *, now: datetime, every: timedelta | None, is_escalated: bool) -> bool:
    if incident.muted_until is not None and now < incident.muted_until:
        return False
    if is_escalated:
        return True
    return incident.acknowledged_at is None and every is not None and now - incident.last_notified_at >= every


def _absent(incident: Incident, *, is_conclusive: bool, now: datetime) -> IncidentChange | None:
    if not is_conclusive:
        return None
    return IncidentChange(ChangeKind.RESOLVED, replace(incident, resolved_at=now, last_notified_at=now))

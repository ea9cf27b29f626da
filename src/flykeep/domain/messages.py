"""The words people get: what, where, since when, the last good backup, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flykeep.domain.findings import Compliance, Finding, FindingCode, Incident, Message, MessageKind, Severity, Verdict
from flykeep.domain.incidents import ChangeKind, IncidentChange
from flykeep.domain.wording import ago, instant, span

_KINDS = {
    ChangeKind.OPENED: MessageKind.OPENED,
    ChangeKind.REMINDED: MessageKind.REMINDED,
    ChangeKind.RESOLVED: MessageKind.RESOLVED,
}

HEADLINES = {
    FindingCode.SNAPSHOT_MISSING: "no snapshot can be restored",
    FindingCode.SNAPSHOT_STALE: "the newest snapshot is too old",
    FindingCode.SNAPSHOT_PENDING_TOO_LONG: "a snapshot does not finish",
    FindingCode.SNAPSHOT_STATUS_UNKNOWN: "a snapshot did not become restorable",
    FindingCode.SNAPSHOTS_AUTOMATIC_OFF: "automatic snapshots are off",
    FindingCode.SNAPSHOT_RETENTION_LOW: "snapshots are kept too short",
    FindingCode.APP_UNDESCRIBED: "what the app consists of is not known",
    FindingCode.VOLUME_UNPROTECTED: "nobody protects this volume",
    FindingCode.VOLUME_STATE: "the volume is in an odd state",
    FindingCode.VOLUME_HOST: "the volume's host is unreachable",
    FindingCode.VOLUME_GONE: "the volume is gone",
    FindingCode.VOLUME_FULL: "the volume is nearly full",
    FindingCode.TARGET_MATCHES_NOTHING: "the target matches no volume",
    FindingCode.EXPORT_MISSING: "there is no restorable export",
    FindingCode.EXPORT_STALE: "the newest export is too old",
    FindingCode.EXPORT_NOT_RESTORABLE: "the newest export does not count",
    FindingCode.ARTIFACT_FAILED: "a stored artifact is not what was written",
    FindingCode.VERIFICATION_OVERDUE: "stored artifacts were not verified for long",
    FindingCode.RETENTION_NOT_RUN: "retention has not run for long",
    FindingCode.RETENTION_REFUSED: "retention holds back what its rules would remove",
    FindingCode.EXPORT_COPY_MISSING: "a store lacks the newest export",
    FindingCode.EXPORT_ON_PLATFORM: "exports stay on the platform",
    FindingCode.RUNBOOK_STALE: "a runbook could not be renewed",
    FindingCode.STORE_CREATE_IGNORED: "a store lets creates overwrite",
    FindingCode.DRILL_FAILED: "a rehearsed restore failed",
    FindingCode.DRILL_NOT_RUN: "a drill could not be carried out",
    FindingCode.DRILL_MISSING: "no restore was ever rehearsed",
    FindingCode.DRILL_STALE: "the last rehearsed restore is too long ago",
    FindingCode.DRILL_IMPOSSIBLE: "no restore can be rehearsed",
    FindingCode.PROOF_REFUSED: "somebody else wrote proofs",
    FindingCode.RUN_FAILED: "the last attempt did not succeed",
    FindingCode.RESTORE_HALF_DONE: "a restore stopped half-way",
    FindingCode.RESTORE_NOT_FINALIZED: "a restore waits for a decision",
    FindingCode.IMPORT_HALF_DONE: "an import stopped half-way",
    FindingCode.IMPORT_NOT_CONFIRMED: "an import waits for a decision",
    FindingCode.RECOVER_HALF_DONE: "an app stayed half-built",
    FindingCode.FLY_UNREACHABLE: "Fly can't be read",
    FindingCode.FLY_INCOMPLETE: "Fly's inventory is incomplete",
    FindingCode.RPO_UNPROVEN: "nobody can say that a young enough backup exists",
    FindingCode.NOTIFIER_FAILING: "messages are not delivered",
}


def message_for(change: IncidentChange, *, now: datetime) -> Message:
    """The message of a change people are told; its id is the same whenever it is made again, so it is sent once."""
    incident = change.incident
    finding = incident.finding
    kind = _KINDS[change.kind]
    return Message(
        id=f"{incident.id}:{kind}:{incident.reminder_count}",
        kind=kind,
        created_at=now,
        severity=Severity.INFO if kind is MessageKind.RESOLVED else finding.severity,
        title=_title(change, finding),
        body=_resolved_body(incident, now=now) if kind is MessageKind.RESOLVED else _body(change, now=now),
        code=finding.code,
        subject=finding.subject.label,
        app=finding.subject.app,
        volume_id=finding.subject.volume_id,
        since_at=finding.since_at,
        last_good_at=finding.last_good_at,
        next_step="" if kind is MessageKind.RESOLVED else finding.next_step,
        incident_id=incident.id,
        is_healthy=kind is MessageKind.RESOLVED or finding.severity is not Severity.CRITICAL,
    )


def checked_message(
    compliances: Sequence[Compliance], open_incidents: Sequence[Incident], *, check_id: str, org: str, now: datetime
) -> Message:
    """Says that a check of `org` (its subject's label) finished; unhealthy while a critical incident is open."""
    critical = [incident for incident in open_incidents if incident.finding.severity is Severity.CRITICAL]
    counts = [(verdict, sum(1 for one in compliances if one.verdict is verdict)) for verdict in Verdict]
    tally = ", ".join(f"{count} {verdict}" for verdict, count in counts if count) or "no targets"
    lines = [f"{tally}; {len(open_incidents)} open incident(s), {len(critical)} critical."]
    lines += [f"- {incident.finding.subject.label}: {incident.finding.summary}" for incident in critical]
    return Message(
        id=f"{check_id}:{MessageKind.CHECKED}",
        kind=MessageKind.CHECKED,
        created_at=now,
        severity=Severity.CRITICAL if critical else Severity.INFO,
        title=f"flykeep checked {org}: {'critical incidents are open' if critical else 'no critical incident'}",
        body="\n".join(lines),
        code="check.finished",
        subject=org,
        is_healthy=not critical,
    )


def test_message(notifier: str, *, message_id: str, now: datetime) -> Message:
    """Proves that a notifier reaches people; says that nothing is wrong."""
    return Message(
        id=f"{message_id}:{MessageKind.TEST}",
        kind=MessageKind.TEST,
        created_at=now,
        severity=Severity.INFO,
        title=f"flykeep test message for {notifier}",
        body=f"This is a test sent at {instant(now)}. Nothing is wrong; incidents will arrive like this.",
        code="notify.test",
        subject=f"notifier {notifier}",
    )


# pytest collects what is called test_*: this one is no test.
test_message.__test__ = False  # type: ignore[attr-defined]


def _title(change: IncidentChange, finding: Finding) -> str:
    word = {
        ChangeKind.OPENED: finding.severity.upper(),
        ChangeKind.REMINDED: f"{'WORSE' if change.is_escalated else 'STILL'} {finding.severity.upper()}",
    }.get(change.kind, "RESOLVED")
    return f"[{word}] {finding.subject.label}: {HEADLINES[finding.code]}"


def _body(change: IncidentChange, *, now: datetime) -> str:
    finding = change.incident.finding
    lines = [finding.summary, "", *_where(finding), f"Since: {ago(finding.since_at, now=now)}"]
    if finding.subject.lineage_id is not None:
        lines.append(f"Last good backup: {_last_good(finding, now=now)}")
    if change.kind is ChangeKind.REMINDED:
        lines.append(f"Reminder: number {change.incident.reminder_count}")
    lines.append(f"Do next: {finding.next_step}")
    return "\n".join(lines)


def _resolved_body(incident: Incident, *, now: datetime) -> str:
    finding = incident.finding
    return "\n".join(
        [
            f"No longer true: {finding.summary}",
            "",
            *_where(finding),
            f"Was wrong since: {instant(finding.since_at)}",
            f"Resolved: {instant(now)}, {span(now - incident.opened_at)} after it was reported",
        ]
    )


def _where(finding: Finding) -> list[str]:
    subject = finding.subject
    lines = [f"Target: {subject.label}"] if subject.lineage_id is not None else [f"About: {subject.label}"]
    if subject.app:
        lines.append(f"App: {subject.app}")
    if subject.volume_id:
        lines.append(f"Volume: {subject.volume_id}")
    return lines


def _last_good(finding: Finding, *, now: datetime) -> str:
    return ago(finding.last_good_at, now=now) if finding.last_good_at else "none is known"

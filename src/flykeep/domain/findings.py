"""Findings: single wrong facts; incidents: findings as people are told about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flykeep.domain.ids import IncidentId, LineageId, ProofId


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def is_unhealthy(self) -> bool:
        return self is not Severity.INFO


class FindingCode(StrEnum):
    """Stable names of everything a check can find; docs/reference/findings.md explains each."""

    SNAPSHOT_MISSING = "snapshot.missing"
    SNAPSHOT_STALE = "snapshot.stale"
    SNAPSHOT_PENDING_TOO_LONG = "snapshot.pending_too_long"
    SNAPSHOT_STATUS_UNKNOWN = "snapshot.status_unknown"
    SNAPSHOTS_AUTOMATIC_OFF = "snapshot.automatic_off"
    SNAPSHOT_RETENTION_LOW = "snapshot.retention_low"
    APP_UNDESCRIBED = "app.undescribed"
    VOLUME_UNPROTECTED = "volume.unprotected"
    VOLUME_STATE = "volume.state"
    VOLUME_HOST = "volume.host"
    VOLUME_GONE = "volume.gone"
    VOLUME_FULL = "volume.full"
    TARGET_MATCHES_NOTHING = "target.matches_nothing"
    EXPORT_MISSING = "export.missing"
    EXPORT_STALE = "export.stale"
    EXPORT_NOT_RESTORABLE = "export.not_restorable"
    EXPORT_COPY_MISSING = "export.copy_missing"
    EXPORT_ON_PLATFORM = "export.on_platform"
    RUNBOOK_STALE = "runbook.stale"
    STORE_CREATE_IGNORED = "store.create_ignored"
    DRILL_FAILED = "drill.failed"
    DRILL_NOT_RUN = "drill.not_run"
    DRILL_MISSING = "drill.missing"
    DRILL_STALE = "drill.stale"
    DRILL_IMPOSSIBLE = "drill.impossible"
    PROOF_REFUSED = "proof.refused"
    ARTIFACT_FAILED = "artifact.failed"
    VERIFICATION_OVERDUE = "verification.overdue"
    RUN_FAILED = "run.failed"
    RESTORE_HALF_DONE = "restore.half_done"
    RESTORE_NOT_FINALIZED = "restore.not_finalized"
    IMPORT_HALF_DONE = "import.half_done"
    IMPORT_NOT_CONFIRMED = "import.not_confirmed"
    RECOVER_HALF_DONE = "recover.half_done"
    FLY_UNREACHABLE = "fly.unreachable"
    FLY_INCOMPLETE = "fly.incomplete"
    RPO_UNPROVEN = "rpo.unproven"
    RETENTION_NOT_RUN = "retention.not_run"
    RETENTION_REFUSED = "retention.refused"
    NOTIFIER_FAILING = "notifier.failing"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a finding is about: a lineage's label, `org:<slug>` `notifier:<name>`; ids where there are any."""

    key: str
    label: str
    app: str | None = None
    volume_id: str | None = None
    lineage_id: LineageId | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One wrong fact. `since_at` is when the fact became wrong, not when it was seen; `store` where it is about one."""

    code: FindingCode
    severity: Severity
    subject: Subject
    summary: str
    since_at: datetime
    last_good_at: datetime | None
    next_step: str
    store: str | None = None

    @property
    def key(self) -> str:
        """What makes two findings the same one over time."""
        return "|".join([self.code, self.subject.key, *([self.store] if self.store else [])])


class Verdict(StrEnum):
    """What a check says of one target."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"  # could not be evaluated: neither green nor stale
    PAUSED = "paused"
    UNWATCHED = "unwatched"  # its policy asks for nothing


@dataclass(frozen=True, slots=True)
class Proven:
    """The newest restore that was rehearsed and worked; `is_newest` false means that a later one did not."""

    proof_id: ProofId
    source: str  # "snapshot" | "artifact"
    at: datetime
    as_of_at: datetime
    took_s: float
    is_newest: bool = True


@dataclass(frozen=True, slots=True)
class Compliance:
    """The evaluation of one lineage at one instant.

    With verdict UNKNOWN, findings hold only what is known regardless (such as an unproven RPO); what was found before
    stands, and `is_conclusive` is false so that no incident is resolved by it.
    """

    lineage_id: LineageId
    label: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    evaluated_at: datetime
    newest_snapshot_at: datetime | None = None
    newest_export_at: datetime | None = None
    restorable_as_of: datetime | None = None
    is_conclusive: bool = True
    reason: str | None = None
    proof: Proven | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """A finding as people are told about it: opened once, reminded, resolved once."""

    id: IncidentId
    finding: Finding
    opened_at: datetime
    last_notified_at: datetime
    reminder_count: int = 0
    resolved_at: datetime | None = None
    acknowledged_at: datetime | None = None
    muted_until: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.resolved_at is None


class MessageKind(StrEnum):
    OPENED = "opened"
    REMINDED = "reminded"
    RESOLVED = "resolved"
    CHECKED = "checked"  # a check finished; for dead-man switches
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Message:
    """What a notifier delivers. Free of secrets; complete enough to act on without opening anything else."""

    id: str
    kind: MessageKind
    created_at: datetime
    severity: Severity
    title: str
    body: str
    code: str
    subject: str
    app: str | None = None
    volume_id: str | None = None
    since_at: datetime | None = None
    last_good_at: datetime | None = None
    next_step: str = ""
    incident_id: str | None = None
    is_healthy: bool = True  # for CHECKED: no critical incident is open


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one notifier, as the outbox holds it."""

    id: int
    notifier: str
    message: Message
    attempts: int
    next_attempt_at: datetime
    created_at: datetime
    last_error: str | None = None

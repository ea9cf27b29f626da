"""The tables. Change them together with a new migration; a test holds both against each other.

What must never happen is forbidden here, not only where the rows are written: two running runs of one lineage, one
slot twice, two open incidents of one finding, one message twice to one notifier. There is no column for a secret.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, UniqueConstraint, text

from flykeep.adapters.db.columns import AnyText, Document, Instant
from flykeep.domain.artifact import Lock, Manifest
from flykeep.domain.findings import Compliance, Finding, Message
from flykeep.domain.fly import VolumeSnapshot
from flykeep.domain.holds import AuditCount
from flykeep.domain.ids import VolumeId
from flykeep.domain.proof import Proof
from flykeep.domain.run import Outcome, RunRequest

REVISION: Final = "0006"
"""The migration these tables correspond to."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _id(name: str, **options: Any) -> Column[Any]:
    return Column(name, String, **options)


runs = Table(
    "runs",
    metadata,
    _id("id", primary_key=True),
    Column("kind", String, nullable=False),
    _id("lineage_id", nullable=False),
    Column("slot_key", String, nullable=False),
    Column("slot_at", Instant),
    Column("state", String, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("request", Document(RunRequest), nullable=False),
    _id("owner_id"),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    Column("outcome", Document(Outcome)),
    UniqueConstraint("kind", "lineage_id", "slot_key"),
    Index("ix_runs_state_due_at", "state", "due_at"),
    Index("ix_runs_requested_at", "requested_at"),
    Index("ix_runs_lineage_id_requested_at", "lineage_id", "requested_at"),
    Index("ix_runs_kind_lineage_id_slot_at", "kind", "lineage_id", "slot_at"),
)

Index(
    "uq_runs_running_lineage_id",
    runs.c.lineage_id,
    unique=True,
    sqlite_where=text("state = 'running'"),
    postgresql_where=text("state = 'running'"),
)

run_steps = Table(
    "run_steps",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String, ForeignKey("runs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("name", AnyText, nullable=False),
    Column("at", Instant, nullable=False),
    Column("detail", AnyText, nullable=False),
    UniqueConstraint("run_id", "number"),
)

snapshots = Table(
    "snapshots",
    metadata,
    _id("snapshot_id", primary_key=True),
    _id("lineage_id", nullable=False),
    _id("volume_id", nullable=False),
    Column("app", String, nullable=False),
    Column("snapshot", Document(VolumeSnapshot), nullable=False),
    Column("created_at", Instant),
    Column("seen_at", Instant, nullable=False),
    _id("run_id"),
    Index("ix_snapshots_lineage_id_created_at", "lineage_id", "created_at"),
)

artifacts = Table(
    "artifacts",
    metadata,
    _id("export_id", primary_key=True),
    Column("store", String, primary_key=True),
    _id("lineage_id", nullable=False),
    Column("manifest_key", AnyText, nullable=False),
    Column("manifest", Document(Manifest), nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("verified_at", Instant),
    Column("verified_level", String),
    Column("is_failed", Boolean, nullable=False),
    Column("leaving_at", Instant),
    Column("lock", Document(Lock)),
    Column("contents_verified_at", Instant),
    Index("ix_artifacts_lineage_id_export_id", "lineage_id", "export_id"),
)

pins = Table(
    "pins",
    metadata,
    _id("export_id", primary_key=True),
    Column("reason", AnyText, nullable=False),
    Column("pinned_at", Instant, nullable=False),
    Column("pinned_by", AnyText, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", AnyText, nullable=False),
    Column("reason", AnyText, nullable=False),
    Column("counts", Document(tuple[AuditCount, ...]), nullable=False),
    sqlite_autoincrement=True,
)

proofs = Table(
    "proofs",
    metadata,
    _id("id", primary_key=True),
    _id("lineage_id", nullable=False),
    Column("proof", Document(Proof), nullable=False),
    _id("signer", nullable=False),
    Column("is_passed", Boolean, nullable=False),
    Column("ended_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Index("ix_proofs_lineage_id_ended_at", "lineage_id", "ended_at"),
)

lineages = Table(
    "lineages",
    metadata,
    _id("id", primary_key=True),
    Column("app", String, nullable=False),
    Column("volume_name", String, nullable=False),
    _id("machine_id"),
    Column("machine_name", AnyText),
    Column("volume_ids", Document(tuple[VolumeId, ...]), nullable=False),
    Column("first_seen_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    Column("is_retired", Boolean, nullable=False),
)

machine_configs = Table(
    "machine_configs",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    _id("lineage_id", nullable=False),
    _id("machine_id", nullable=False),
    Column("config_json", AnyText, nullable=False),
    Column("saved_at", Instant, nullable=False),
    Index("ix_machine_configs_lineage_id_sequence", "lineage_id", "sequence"),
)

app_descriptions = Table(
    "app_descriptions",
    metadata,
    Column("app", String, primary_key=True),
    Column("description_json", AnyText),
    Column("fingerprint", String, nullable=False),
    Column("read_at", Instant, nullable=False),
    Column("failing_since_at", Instant),
    Column("failure", AnyText),
)

pauses = Table(
    "pauses",
    metadata,
    Column("target", String, primary_key=True),
    Column("until_at", Instant),
    Column("reason", AnyText, nullable=False),
    Column("paused_at", Instant, nullable=False),
)

verdicts = Table(
    "verdicts",
    metadata,
    _id("lineage_id", primary_key=True),
    Column("evaluated_at", Instant, nullable=False),
    Column("newest", Document(Compliance), nullable=False),
    Column("conclusive", Document(Compliance)),
)

marks = Table(
    "marks",
    metadata,
    Column("name", String, primary_key=True),
    Column("at", Instant, nullable=False),
)

notes = Table(
    "notes",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", AnyText, nullable=False),
)

incidents = Table(
    "incidents",
    metadata,
    _id("id", primary_key=True),
    Column("finding_key", AnyText, nullable=False),
    Column("finding", Document(Finding), nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("last_notified_at", Instant, nullable=False),
    Column("reminder_count", Integer, nullable=False),
    Column("resolved_at", Instant),
    Column("acknowledged_at", Instant),
    Column("muted_until", Instant),
    Index("ix_incidents_opened_at", "opened_at"),
)

Index(
    "uq_incidents_open_finding_key",
    incidents.c.finding_key,
    unique=True,
    sqlite_where=text("resolved_at IS NULL"),
    postgresql_where=text("resolved_at IS NULL"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("notifier", String, nullable=False),
    Column("message_id", String, nullable=False),
    Column("message", Document(Message), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Instant),
    Column("last_error", AnyText),
    Column("delivered_at", Instant),
    Column("given_up_at", Instant),
    UniqueConstraint("notifier", "message_id"),
    Index("ix_deliveries_next_attempt_at", "next_attempt_at"),
    sqlite_autoincrement=True,
)

__all__ = [
    "REVISION",
    "app_descriptions",
    "artifacts",
    "audit",
    "deliveries",
    "incidents",
    "lineages",
    "machine_configs",
    "marks",
    "metadata",
    "pauses",
    "pins",
    "proofs",
    "run_steps",
    "runs",
    "snapshots",
    "verdicts",
]

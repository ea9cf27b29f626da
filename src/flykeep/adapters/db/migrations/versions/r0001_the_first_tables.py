"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    _runs()
    _backups()
    _lineages()
    _alerts()
    _outbox()


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("lineage_id", sa.String(), nullable=False),
        sa.Column("slot_key", sa.String(), nullable=False),
        sa.Column("slot_at", INSTANT),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.String()),
        sa.Column("started_at", INSTANT),
        sa.Column("ended_at", INSTANT),
        sa.Column("outcome", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("kind", "lineage_id", "slot_key", name="uq_runs_kind_lineage_id_slot_key"),
    )
    op.create_index("ix_runs_state_due_at", "runs", ["state", "due_at"])
    op.create_index("ix_runs_requested_at", "runs", ["requested_at"])
    op.create_index("ix_runs_lineage_id_requested_at", "runs", ["lineage_id", "requested_at"])
    op.create_index("ix_runs_kind_lineage_id_slot_at", "runs", ["kind", "lineage_id", "slot_at"])
    is_running = sa.text("state = 'running'")
    op.create_index(
        "uq_runs_running_lineage_id",
        "runs",
        ["lineage_id"],
        unique=True,
        sqlite_where=is_running,
        postgresql_where=is_running,
    )
    op.create_table(
        "run_steps",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_run_steps"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_steps_run_id"),
        sa.UniqueConstraint("run_id", "number", name="uq_run_steps_run_id_number"),
    )


def _backups() -> None:
    op.create_table(
        "snapshots",
        sa.Column("snapshot_id", sa.String(), nullable=False),
        sa.Column("lineage_id", sa.String(), nullable=False),
        sa.Column("volume_id", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.Column("run_id", sa.String()),
        sa.PrimaryKeyConstraint("snapshot_id", name="pk_snapshots"),
    )
    op.create_index("ix_snapshots_lineage_id_created_at", "snapshots", ["lineage_id", "created_at"])
    op.create_table(
        "artifacts",
        sa.Column("export_id", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("lineage_id", sa.String(), nullable=False),
        sa.Column("manifest_key", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("recorded_at", INSTANT, nullable=False),
        sa.Column("verified_at", INSTANT),
        sa.Column("verified_level", sa.String()),
        sa.Column("is_failed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("export_id", "store", name="pk_artifacts"),
    )
    op.create_index("ix_artifacts_lineage_id_export_id", "artifacts", ["lineage_id", "export_id"])


def _lineages() -> None:
    op.create_table(
        "lineages",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("volume_name", sa.String(), nullable=False),
        sa.Column("machine_id", sa.String()),
        sa.Column("machine_name", sa.Text()),
        sa.Column("volume_ids", sa.Text(), nullable=False),
        sa.Column("first_seen_at", INSTANT, nullable=False),
        sa.Column("last_seen_at", INSTANT, nullable=False),
        sa.Column("is_retired", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lineages"),
    )
    op.create_table(
        "machine_configs",
        sa.Column("sequence", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("lineage_id", sa.String(), nullable=False),
        sa.Column("machine_id", sa.String(), nullable=False),
        sa.Column("config_json", sa.Text(), nullable=False),
        sa.Column("saved_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_machine_configs"),
    )
    op.create_index("ix_machine_configs_lineage_id_sequence", "machine_configs", ["lineage_id", "sequence"])
    op.create_table(
        "pauses",
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("until_at", INSTANT),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("paused_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("target", name="pk_pauses"),
    )


def _alerts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("lineage_id", sa.String(), nullable=False),
        sa.Column("evaluated_at", INSTANT, nullable=False),
        sa.Column("newest", sa.Text(), nullable=False),
        sa.Column("conclusive", sa.Text()),
        sa.PrimaryKeyConstraint("lineage_id", name="pk_verdicts"),
    )
    op.create_table(
        "marks",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_marks"),
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("finding_key", sa.Text(), nullable=False),
        sa.Column("finding", sa.Text(), nullable=False),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("last_notified_at", INSTANT, nullable=False),
        sa.Column("reminder_count", sa.Integer(), nullable=False),
        sa.Column("resolved_at", INSTANT),
        sa.Column("acknowledged_at", INSTANT),
        sa.Column("muted_until", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index("ix_incidents_opened_at", "incidents", ["opened_at"])
    is_open = sa.text("resolved_at IS NULL")
    op.create_index(
        "uq_incidents_open_finding_key",
        "incidents",
        ["finding_key"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )


def _outbox() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("notifier", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", INSTANT),
        sa.Column("last_error", sa.Text()),
        sa.Column("delivered_at", INSTANT),
        sa.Column("given_up_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("notifier", "message_id", name="uq_deliveries_notifier_message_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_next_attempt_at", "deliveries", ["next_attempt_at"])

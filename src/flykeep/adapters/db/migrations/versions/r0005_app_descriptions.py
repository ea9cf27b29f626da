"""What apps consist of, for the day when one is gone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INSTANT = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "app_descriptions",
        sa.Column("app", sa.String(), nullable=False),
        sa.Column("description_json", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("read_at", INSTANT, nullable=False),
        sa.Column("failing_since_at", INSTANT, nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("app", name="pk_app_descriptions"),
    )

"""When an artifact's contents were last compared, which a shallower verification does not take back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INSTANT = sa.Text().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("artifacts", sa.Column("contents_verified_at", INSTANT, nullable=True))
    op.execute(
        "UPDATE artifacts SET contents_verified_at = verified_at WHERE verified_level = 'contents' AND NOT is_failed"
    )

"""When labels came and went. The labels of an older store count as there from the beginning: nothing else is known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from store.database.columns import Instant

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this schema."""
    op.create_table(
        "label_dates",
        sa.Column("project_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("came_at", Instant(), nullable=True),
        sa.Column("gone_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_label_dates_project_id"),
        sa.PrimaryKeyConstraint("project_id", "label", name="pk_label_dates"),
    )

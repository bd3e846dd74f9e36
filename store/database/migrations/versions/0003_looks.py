"""Holdouts have terms, and every look at one is counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from store.database.columns import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this schema."""
    op.create_table(
        "holdout_epochs",
        sa.Column("project_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("epoch", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("schedule", sa.String(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("retired_at", Instant(), nullable=True),
        sa.Column("retirement", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_holdout_epochs_project_id"),
        sa.PrimaryKeyConstraint("project_id", "epoch", name="pk_holdout_epochs"),
    )
    op.create_table(
        "holdout_looks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_holdout_looks_project_id"),
        sa.ForeignKeyConstraint(["model"], ["models.version"], name="fk_holdout_looks_model"),
        sa.PrimaryKeyConstraint("id", name="pk_holdout_looks"),
        sa.UniqueConstraint("project_id", "epoch", "number", name="uq_holdout_looks_project_id_epoch_number"),
        sa.UniqueConstraint(
            "project_id", "epoch", "model", "fingerprint", name="uq_holdout_looks_project_id_epoch_model_fingerprint"
        ),
    )

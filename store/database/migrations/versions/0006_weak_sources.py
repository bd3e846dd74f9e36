"""Sources of weak labels are known by name, with how far each was asked and whether it is muted; answers are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from store.database.columns import Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this schema. No source is known yet, so that the next run asks each about every text."""
    op.create_table(
        "weak_sources",
        sa.Column("project_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("applied_to", sa.Integer(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("faults", sa.JSON(), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("applied_at", Instant(), nullable=True),
        sa.Column("muted_at", Instant(), nullable=True),
        sa.Column("muted_by", sa.String(), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_weak_sources_project_id"),
        sa.PrimaryKeyConstraint("project_id", "name", name="pk_weak_sources"),
    )
    op.create_table(
        "weak_answers",
        sa.Column("project_id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("tokens_in", sa.Integer(), nullable=True),
        sa.Column("tokens_out", sa.Integer(), nullable=True),
        sa.Column("cost", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_weak_answers_project_id"),
        sa.PrimaryKeyConstraint("project_id", "key", name="pk_weak_answers"),
    )

"""What was mended is not counted any more; overlap is remembered; a column that nothing ever filled goes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from store.database.columns import Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this schema."""
    op.add_column("set_aside", sa.Column("mended_at", Instant(), nullable=True))
    op.add_column("projects", sa.Column("ls_overlap", sa.JSON(), nullable=True))
    op.drop_column("annotation_versions", "parent_version")

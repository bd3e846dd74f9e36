"""The label map is remembered: it says what stored labels mean, and a changed map has all tasks read again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this schema. No map is known yet, so that the next pull reads every task by today's rules."""
    op.add_column("projects", sa.Column("label_map", sa.JSON(), nullable=True))
    op.add_column("projects", sa.Column("pulled_label_map", sa.JSON(), nullable=True))

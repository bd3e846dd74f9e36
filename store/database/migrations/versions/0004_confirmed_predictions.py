"""A prediction is noted before it is sent, and confirmed once Label Studio is known to have it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from store.database.columns import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this schema. Until now a prediction was stored only after it was sent."""
    op.add_column("predictions", sa.Column("confirmed_at", Instant(), nullable=True))
    op.execute("UPDATE predictions SET confirmed_at = published_at")

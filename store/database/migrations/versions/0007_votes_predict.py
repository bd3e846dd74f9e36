"""The agreed votes predict, too: a prediction and a place in the queue may be of a version that no model has."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this schema. SQLite drops no constraint: the table is made anew, with its rows."""
    for table in ("predictions", "queue_ranks"):
        with op.batch_alter_table(table) as altered:
            altered.drop_constraint(f"fk_{table}_model", type_="foreignkey")

"""Alembic migrations, packaged: they run from an installed wheel."""

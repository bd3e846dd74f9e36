"""`loop pull`, `retrain`, `promote`, `rollback`, `publish`, `run`: the steps of the loop, one by one or all."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""

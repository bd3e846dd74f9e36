"""What long work is doing now, told to whoever listens."""

from __future__ import annotations

from collections.abc import Callable

Stages = Callable[[str], None]


def silent(stage: str) -> None:
    """Nobody listens."""

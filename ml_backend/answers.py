"""An answer: its status and what it says, and both as bytes. For the arbiter, too, which imports no library."""

from __future__ import annotations

import json
from typing import Any

from ml_backend.refusals import error_body

Answer = tuple[int, dict[str, Any]]


def failure(error: Exception) -> Answer:
    """The answer when something happened that nobody foresaw; what it was stands in the log only."""
    return 500, error_body("the backend answers", type(error).__name__, "See the backend's log.")


def encode(content: dict[str, Any]) -> bytes:
    """Compact JSON in ASCII, so that any text comes through any client."""
    return json.dumps(content, separators=(",", ":")).encode()

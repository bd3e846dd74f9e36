"""Basic auth (RFC 7617) for everything but the health checks."""

from __future__ import annotations

import base64
import hmac

ASK = {"WWW-Authenticate": 'Basic realm="ner-annotation-loop", charset="UTF-8"'}


class BasicAuth:
    """Basic auth for one user. The comparison takes the same time wherever a guess goes wrong."""

    def __init__(self, user: str, password: str) -> None:
        self._expected = base64.b64encode(f"{user}:{password}".encode()) if user else b""

    def allows(self, authorization: str | None) -> bool:
        """Whether the value of an Authorization header names the user; without a user, everyone is let in."""
        if not self._expected:
            return True
        scheme, _, token = (authorization or "").partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, self._expected) and scheme.lower() == "basic"

"""What happens around every request: basic auth before it, one count and one line of the log after it."""

from __future__ import annotations

import base64
import hmac
import logging
import time
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_backend.metrics import Metrics
from ml_backend.refusals import error_body

log = logging.getLogger(__name__)

# For a refusal: what the client still sends of its body would stand before its next request.
CLOSE = {"Connection": "close"}
_OPEN = frozenset({"/", "/health"})
_ASK = {"WWW-Authenticate": 'Basic realm="ner-annotation-loop", charset="UTF-8"'}
_REFUSED = error_body("this needs the user and the password of basic auth", None, "Send an Authorization header.")


class BasicAuth:
    """Basic auth (RFC 7617) for one user. The comparison takes the same time wherever a guess goes wrong."""

    def __init__(self, user: str, password: str) -> None:
        self._expected = base64.b64encode(f"{user}:{password}".encode()) if user else b""

    def allows(self, authorization: str | None) -> bool:
        """Whether the value of an Authorization header names the user; without a user, everyone is let in."""
        if not self._expected:
            return True
        scheme, _, token = (authorization or "").partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, self._expected) and scheme.lower() == "basic"


class Access:
    """ASGI middleware around the routes. It logs neither bodies nor queries nor headers.

    A handler may leave a note for the log in `request.state.note`. Credentials are checked before any body is read;
    the health checks need none.
    """

    def __init__(self, app: ASGIApp, auth: BasicAuth, metrics: Metrics, paths: Collection[str]) -> None:
        self._app, self._auth, self._metrics, self._paths = app, auth, metrics, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noting_the_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            answer = self._app if self._is_let_in(scope) else JSONResponse(_REFUSED, 401, CLOSE | _ASK)
            await answer(scope, receive, noting_the_status)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _is_let_in(self, scope: Scope) -> bool:
        return scope["path"] in _OPEN or self._auth.allows(Headers(scope=scope).get("authorization"))

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope["path"] if scope["path"] in self._paths else None
        self._metrics.answered(route, status, seconds)
        note = scope.get("state", {}).get("note", "")
        log.info("%s %s %d %.1f ms%s", scope["method"], route or "(no such route)", status, 1000 * seconds, note)

"""What stands before the routes: credentials, the clock, one count and one line for each request, and `/predict`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ml_backend.answers import Answer, encode
from ml_backend.auth import REALM
from ml_backend.backend import Backend
from ml_backend.predict_route import answer_predict
from ml_backend.refusals import error_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_OPEN = frozenset({"/", "/health"})
_REFUSED = error_body("this needs the user and the password of basic auth", None, "Send an Authorization header.")


class Gate:
    """A WSGI app around another. Neither bodies nor queries nor headers are logged."""

    def __init__(self, app: WSGIApplication, backend: Backend, routes: Iterable[str]) -> None:
        self._app, self._backend, self._routes = app, backend, frozenset(routes)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = time.perf_counter()
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        status, note = 500, ""

        def begin(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, headers, exc_info)

        try:
            if path not in _OPEN and not self._backend.auth.allows(environ.get("HTTP_AUTHORIZATION")):
                return _send((401, _REFUSED), begin, ("WWW-Authenticate", REALM))
            self._backend.start()
            if path == "/predict" and method == "POST":
                answer, note = answer_predict(environ, self._backend)
                return _send(answer, begin)
            return self._app(environ, begin)
        finally:
            seconds = time.perf_counter() - began
            route = path if path in self._routes else None
            self._backend.metrics.answered(route, status, seconds)
            self._backend.access_log.add(method, route or "(no such route)", status, seconds, note)


def _send(answer: Answer, start_response: StartResponse, *more: tuple[str, str]) -> Iterable[bytes]:
    status, body = HTTPStatus(answer[0]), encode(answer[1])
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *more]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
